// What the kernels need beyond plain C++, each behind one small function: special-function instructions,
// asynchronous copies, warp votes. No CUDA header is included, so NVRTC needs no toolkit; and a compiler for
// another machine can run the same kernels by bringing its own file of this name.
#pragma once

#define KERNEL(threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks)
#define DEVICE __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define NO_UNROLL _Pragma("unroll 1")

// Dynamic shared memory of the block, 16-byte aligned.
DEVICE float* shared_memory() {
    extern __shared__ float4 block_memory[];
    return reinterpret_cast<float*>(block_memory);
}

// 2^x and log2 x by the special-function units: about 2^-22 of error; denormals count as zero.
DEVICE float exp2_special(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE float log2_special(float x) {
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// 1 / x to about 2^-23; denormals count as zero.
DEVICE float reciprocal_special(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// a * b + c, rounded once, then clamped to [0, 1]; NaN becomes 0. One instruction.
DEVICE float saturated_fma(float a, float b, float c) {
    float y;
    asm("fma.rn.sat.f32 %0, %1, %2, %3;" : "=f"(y) : "f"(a), "f"(b), "f"(c));
    return y;
}

// Copies `valid` (0..16) bytes to 16 bytes of shared memory and zeroes the rest, without waiting.
DEVICE void copy_async_16(float* to, const float* from, int valid) {
    unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(valid) : "memory");
}

// The same for one float, where rows do not start at multiples of 16 bytes; `valid` is 0 or 4.
DEVICE void copy_async_4(float* to, const float* from, int valid) {
    unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(from), "r"(valid) : "memory");
}

DEVICE void copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until every copy this thread has committed has landed.
DEVICE void copies_wait() { asm volatile("cp.async.wait_group 0;" ::: "memory"); }

DEVICE unsigned warp_vote(bool mine) { return __ballot_sync(0xffffffffu, mine); }
DEVICE float warp_shuffle(float value, int lane_mask) { return __shfl_xor_sync(0xffffffffu, value, lane_mask); }
DEVICE int warp_shuffle(int value, int lane_mask) { return __shfl_xor_sync(0xffffffffu, value, lane_mask); }

// Statistics only: integers, so the order of the additions does not show.
DEVICE void atomic_count(unsigned long long* counter, unsigned long long value) { atomicAdd(counter, value); }

DEVICE int first_bit(unsigned mask) { return __ffs(static_cast<int>(mask)) - 1; }
DEVICE int count_bits(unsigned mask) { return __popc(mask); }
DEVICE unsigned float_bits(float x) { return __float_as_uint(x); }
DEVICE float bits_float(unsigned x) { return __uint_as_float(x); }
