// A recorded launch as a program, so that a sanitizer watches nothing but the kernel: every array is an
// allocation of exactly its size. Reads the file that `host_launcher.record` wrote.
#include <intrinsics.cuh>
#include SOURCE

#include <cstdio>

template <class T>
T read(std::FILE* file) {
    T value;
    if (std::fread(&value, sizeof value, 1, file) != 1) std::abort();
    return value;
}

int main(int, char** arguments) {
    std::FILE* file = std::fopen(arguments[1], "rb");
    unsigned grid[3] = {read<unsigned>(file), read<unsigned>(file), read<unsigned>(file)};
    unsigned threads = read<unsigned>(file), shared_bytes = read<unsigned>(file), count = read<unsigned>(file);
    Slot slots[SLOTS] = {};
    struct Free {
        void operator()(char* data) const { std::free(data); }
    };
    std::vector<std::unique_ptr<char, Free>> arrays;
    for (unsigned i = 0; i < count; i++) {
        long long bytes = read<long long>(file);
        if (bytes < 0) {  // an integer
            slots[i] = read<Slot>(file);
            continue;
        }
        char* data = static_cast<char*>(std::malloc(bytes));
        if (std::fread(data, 1, bytes, file) != static_cast<size_t>(bytes)) std::abort();
        slots[i] = reinterpret_cast<Slot>(data);
        arrays.emplace_back(data);
    }
    launch(reinterpret_cast<void*>(&ENTRY), grid, threads, shared_bytes, slots);
    std::puts("done");
}
