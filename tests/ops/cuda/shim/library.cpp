// A kernel as a library: `run` launches it from Python. Built with -DSOURCE="x.cu" -DENTRY=x.
#include <intrinsics.cuh>
#include SOURCE

extern "C" void run(const unsigned* grid, unsigned threads, size_t shared_bytes, const Slot* slots) {
    launch(reinterpret_cast<void*>(&ENTRY), grid, threads, shared_bytes, slots);
}
