// What the device's units can do at most, measured beside the kernels: long chains of nothing but the
// instructions in question, enough of them side by side to hide their latency.
#include <intrinsics.cuh>

constexpr int THREADS = 256, CHAINS = 16;
static_assert(CHAINS == 16, "bench/cuda_ops.py counts with it");

// One subtraction and one maximum an element, as in fold.cu.
KERNEL(THREADS, 4)
limit_fold(const float* in, float* out, int rounds) {
    float value[CHAINS];
    UNROLL for (int i = 0; i < CHAINS; i++) value[i] = in[threadIdx.x] + i;
    float x = in[threadIdx.x + THREADS];
    NO_UNROLL for (int round = 0; round < rounds; round++)
        UNROLL for (int i = 0; i < CHAINS; i++) value[i] = fmaxf(value[i], fabsf(x - value[i]));
    float sum = 0;
    UNROLL for (int i = 0; i < CHAINS; i++) sum += value[i];
    out[blockIdx.x * THREADS + threadIdx.x] = sum;
}

// The same for two half-precision elements an instruction: what a half-precision core could reach.
KERNEL(THREADS, 4)
limit_half(const float* in, float* out, int rounds) {
    unsigned value[CHAINS], x = float_bits(in[threadIdx.x + THREADS]);
    UNROLL for (int i = 0; i < CHAINS; i++) value[i] = float_bits(in[threadIdx.x]) + i;
    NO_UNROLL for (int round = 0; round < rounds; round++)
        UNROLL for (int i = 0; i < CHAINS; i++) {
            unsigned d;
            asm("sub.f16x2 %0, %1, %2;" : "=r"(d) : "r"(x), "r"(value[i]));
            asm("abs.f16x2 %0, %1;" : "=r"(d) : "r"(d));
            asm("max.f16x2 %0, %1, %2;" : "=r"(value[i]) : "r"(value[i]), "r"(d));
        }
    unsigned sum = 0;
    UNROLL for (int i = 0; i < CHAINS; i++) sum ^= value[i];
    out[blockIdx.x * THREADS + threadIdx.x] = bits_float(sum);
}

// A logarithm and an exponential an element, as a power takes without a polynomial.
KERNEL(THREADS, 4)
limit_special(const float* in, float* out, int rounds) {
    float value[CHAINS];
    UNROLL for (int i = 0; i < CHAINS; i++) value[i] = in[threadIdx.x] + i;
    NO_UNROLL for (int round = 0; round < rounds; round++)
        UNROLL for (int i = 0; i < CHAINS; i++) value[i] = exp2_special(log2_special(value[i]));
    float sum = 0;
    UNROLL for (int i = 0; i < CHAINS; i++) sum += value[i];
    out[blockIdx.x * THREADS + threadIdx.x] = sum;
}

// A fused multiply-add: the rate at which ordinary instructions are issued.
KERNEL(THREADS, 4)
limit_issue(const float* in, float* out, int rounds) {
    float value[CHAINS], x = in[threadIdx.x + THREADS];
    UNROLL for (int i = 0; i < CHAINS; i++) value[i] = in[threadIdx.x] + i;
    NO_UNROLL for (int round = 0; round < rounds; round++)
        UNROLL for (int i = 0; i < CHAINS; i++) value[i] = fmaf(value[i], x, x);
    float sum = 0;
    UNROLL for (int i = 0; i < CHAINS; i++) sum += value[i];
    out[blockIdx.x * THREADS + threadIdx.x] = sum;
}
