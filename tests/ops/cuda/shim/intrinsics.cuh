// The kernels' intrinsics on a CPU, for tests only: found before the real file of this name. A block's threads
// are threads, its barrier is a barrier, its shared memory is fresh and full of NaN for every block, and a warp's
// votes and shuffles are exchanged through a table between two barriers of its own 32 threads.
#pragma once
#include <atomic>
#include <barrier>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#define KERNEL(threads, blocks) extern "C" void
#define DEVICE inline
#define __device__
#define UNROLL
#define NO_UNROLL

struct alignas(16) float4 {
    float x, y, z, w;
};

struct Index {
    unsigned x = 0, y = 0, z = 0;
};

struct Warp {
    std::barrier<> barrier{32};
    unsigned table[32];
};

struct Block {
    std::barrier<> barrier;
    std::vector<std::unique_ptr<Warp>> warps;
    std::unique_ptr<float4[]> memory;
    size_t quarters;

    Block(unsigned threads, size_t shared_bytes) : barrier(threads), quarters((shared_bytes + 15) / 16) {
        for (unsigned i = 0; i < (threads + 31) / 32; i++) warps.push_back(std::make_unique<Warp>());
    }

    void refresh() {
        constexpr float nan = std::numeric_limits<float>::quiet_NaN();
        memory.reset(new float4[quarters]);
        for (size_t i = 0; i < quarters; i++) memory[i] = {nan, nan, nan, nan};
    }
};

inline thread_local Index threadIdx, blockIdx;
inline thread_local Block* this_block;

inline void __syncthreads() { this_block->barrier.arrive_and_wait(); }

inline float* shared_memory() { return &this_block->memory[0].x; }

inline Warp& this_warp() { return *this_block->warps[threadIdx.x / 32]; }

template <class T>
T exchange(T value, unsigned from) {
    Warp& warp = this_warp();
    warp.table[threadIdx.x % 32] = std::bit_cast<unsigned>(value);
    warp.barrier.arrive_and_wait();
    unsigned got = warp.table[from];
    warp.barrier.arrive_and_wait();
    return std::bit_cast<T>(got);
}

inline float warp_shuffle(float value, int lane_mask) { return exchange(value, threadIdx.x % 32 ^ lane_mask); }
inline int warp_shuffle(int value, int lane_mask) { return exchange(value, threadIdx.x % 32 ^ lane_mask); }

inline unsigned warp_vote(bool mine) {
    Warp& warp = this_warp();
    warp.table[threadIdx.x % 32] = mine;
    warp.barrier.arrive_and_wait();
    unsigned votes = 0;
    for (int lane = 0; lane < 32; lane++) votes |= warp.table[lane] << lane;
    warp.barrier.arrive_and_wait();
    return votes;
}

inline void atomic_count(unsigned long long* counter, unsigned long long value) {
    std::atomic_ref(*counter).fetch_add(value);
}

// Denormals count as zero, as with the .ftz instructions.
inline float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
inline float exp2_special(float x) { return flushed(std::exp2(flushed(x))); }
inline float log2_special(float x) { return std::log2(flushed(x)); }
inline float reciprocal_special(float x) { return flushed(1 / flushed(x)); }

inline float saturated_fma(float a, float b, float c) {
    float y = std::fma(a, b, c);
    return y > 0 ? (y < 1 ? y : 1) : 0;
}

// A copy lands as late as it may, when it is waited for: until then whoever reads finds NaN or an older slab.
struct Copy {
    float* to;
    const float* from;
    int bytes, valid;
};

inline thread_local std::vector<Copy> copies;

inline void copy_async_16(float* to, const float* from, int valid) {
    if (reinterpret_cast<size_t>(to) % 16 || (valid && reinterpret_cast<size_t>(from) % 16)) std::abort();
    copies.push_back({to, from, 16, valid});
}

inline void copy_async_4(float* to, const float* from, int valid) { copies.push_back({to, from, 4, valid}); }
inline void copies_commit() {}

inline void copies_wait() {
    for (const Copy& copy : copies) {
        std::memset(copy.to, 0, copy.bytes);
        std::memcpy(copy.to, copy.from, copy.valid);
    }
    copies.clear();
}

inline int first_bit(unsigned mask) { return std::countr_zero(mask); }
inline int count_bits(unsigned mask) { return std::popcount(mask); }
inline unsigned float_bits(float x) { return std::bit_cast<unsigned>(x); }
inline float bits_float(unsigned x) { return std::bit_cast<float>(x); }

using std::isinf;

// Runs a kernel, block after block. Its arguments are pointers and integers only, so each fits a 64-bit slot,
// and slots beyond its last parameter are ignored by the calling convention.
constexpr int SLOTS = 16;
using Slot = unsigned long long;

template <size_t... I>
void call(void* kernel, const Slot* slots, std::index_sequence<I...>) {
    reinterpret_cast<void (*)(std::conditional_t<(I < SLOTS), Slot, void>...)>(kernel)(slots[I]...);
}

inline void launch(void* kernel, const unsigned* grid, unsigned threads, size_t shared_bytes, const Slot* slots) {
    Block block(threads, shared_bytes);
    auto work = [&](unsigned thread) {
        threadIdx.x = thread;
        this_block = &block;
        for (unsigned z = 0; z < grid[2]; z++)
            for (unsigned y = 0; y < grid[1]; y++)
                for (unsigned x = 0; x < grid[0]; x++) {
                    blockIdx = {x, y, z};
                    if (thread == 0) block.refresh();
                    __syncthreads();
                    call(kernel, slots, std::make_index_sequence<SLOTS>{});
                    __syncthreads();
                }
    };
    std::vector<std::thread> running;
    for (unsigned thread = 0; thread < threads; thread++) running.emplace_back(work, thread);
    for (auto& thread : running) thread.join();
}
