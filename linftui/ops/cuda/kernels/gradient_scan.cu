// The gradients of the p-norm distance at large p: only differences near an output's distance have a gradient
// that is not lost in rounding. As in scan.cu, the loop over all elements subtracts and compares; rows with a
// survivor are flagged, and each lane then works off its own.
//
// pack.cu's threshold is where a term is as small as `floor`, so a survivor is floor (|d| / threshold)^(p - 1).
#include <columns.cuh>

constexpr int STAGE = BLOCK_ROWS * 4;

// A thread's rows of x and of its gradient, in shared memory because survivors are found by run-time index.
struct Own {
    float *x, *grad;

    DEVICE explicit Own(float* memory) : x(memory + threadIdx.x), grad(memory + ROWS * THREADS + threadIdx.x) {}
};

// Also true where the threshold is NaN, as the gradient of a NaN distance is.
DEVICE bool survives(float d, float threshold) { return !(fabsf(d) <= fabsf(threshold)); }

DEVICE unsigned flag(const float (&x)[ROWS], const float (&weight)[STEP], const float* thresholds) {
    unsigned flagged = 0;
    UNROLL for (int i = 0; i < ROWS; i++) {
        float4 threshold = four(thresholds + i * 4);
        bool any = survives(x[i] - weight[0], threshold.x);
        any |= survives(x[i] - weight[1], threshold.y);
        any |= survives(x[i] - weight[2], threshold.z);
        any |= survives(x[i] - weight[3], threshold.w);
        if (any) flagged |= 1u << i;
    }
    return flagged;
}

// log2(above / below) for above >= below. Near 1 from the difference, which is exact there: (p - 1) multiplies
// the error. Far from 1 p is small enough for the special function.
DEVICE float log2_ratio(float above, float below) {
    float s = (above - below) * reciprocal_special(above + below), s2 = s * s;
    if (!(s < 0.2f)) return log2_special(above * reciprocal_special(below));
    return 2.88539008f * s * fmaf(s2, fmaf(s2, fmaf(s2, 1.0f / 7, 1.0f / 5), 1.0f / 3), 1.0f);
}

struct Survivors {
    float exponent, floor;

    DEVICE float term(float d, float threshold) const {
        if (!survives(d, threshold)) return 0;
        return along(along(floor, threshold), d) * exp2_special(exponent * log2_ratio(fabsf(d), fabsf(threshold)));
    }

    DEVICE void work_off(unsigned flagged, const Own& own, float (&to_weight)[STEP], const float (&weight)[STEP],
                         const float* thresholds) const {
        for (; flagged; flagged &= flagged - 1) {
            int i = first_bit(flagged);
            float4 threshold = four(thresholds + i * 4);
            float x = own.x[i * THREADS], to_x = own.grad[i * THREADS];
            float limits[STEP] = {threshold.x, threshold.y, threshold.z, threshold.w};
            UNROLL for (int j = 0; j < STEP; j++) {
                float value = term(x - weight[j], limits[j]);
                to_x += value;
                to_weight[j] += value;
            }
            own.grad[i * THREADS] = to_x;
        }
    }
};

// grid: columns in 32s, splits of m. grad_x: [split, n, k]. survivors: counts groups of four outputs, flagged and tested.
KERNEL(THREADS, 16 / WARPS)
gradient_scan(const float* x, const float* weight, const float* numbers, const float* thresholds,
              const float* floor, float* grad_x, float* grad_weight, unsigned long long* survivors, int n, int m,
              int k, int padded_n, int steps_a_split) {
    Problem problem(n, m, k, padded_n, steps_a_split);
    Survivors terms{numbers[BACKWARD], *floor};
    float* memory = shared_memory();
    Own own(memory);
    float *stages = memory + 2 * ROWS * THREADS, *sums = stages + 2 * STAGE;
    int flagged_count = 0;
    NO_UNROLL for (int first_row = 0; first_row < n; first_row += BLOCK_ROWS) {
        int own_row = first_row + problem.warp * ROWS;
        float own_x[ROWS], weights[STEP];
        UNROLL for (int i = 0; i < ROWS; i++) {
            own_x[i] = problem.x_at(x, own_row + i);
            own.x[i * THREADS] = own_x[i];
            own.grad[i * THREADS] = 0;
        }
        problem.weights_at(weights, weight, problem.begin);
        load_entries<4>(stages, thresholds, problem, problem.begin, first_row);
        int stage = 0;
        NO_UNROLL for (int step = problem.begin; step < problem.end; step++, stage ^= 1) {
            copies_wait();
            __syncthreads();  // these thresholds and the sums of the step before are there
            float to_weight[STEP] = {}, next_weights[STEP];
            if (step + 1 < problem.end)
                load_entries<4>(stages + (stage ^ 1) * STAGE, thresholds, problem, step + 1, first_row);
            problem.weights_at(next_weights, weight, step + 1);
            if (step > problem.begin) problem.add_up(grad_weight, sums + (stage ^ 1) * SUMS, step - 1, !first_row);
            const float* here = stages + stage * STAGE + problem.warp * ROWS * 4;
            unsigned flagged = flag(own_x, weights, here);
            flagged_count += count_bits(flagged);
            terms.work_off(flagged, own, to_weight, weights, here);
            problem.leave(sums + stage * SUMS, to_weight);
            UNROLL for (int j = 0; j < STEP; j++) weights[j] = next_weights[j];
        }
        __syncthreads();
        problem.add_up(grad_weight, sums + (stage ^ 1) * SUMS, problem.end - 1, !first_row);
        __syncthreads();
        float* to = grad_x + static_cast<long long>(blockIdx.y) * n * k + problem.column;
        NO_UNROLL for (int i = 0; i < ROWS; i++)
            if (problem.inside && own_row + i < n) to[static_cast<long long>(own_row + i) * k] = own.grad[i * THREADS];
    }
    NO_UNROLL for (int lanes = 16; lanes; lanes /= 2) flagged_count += warp_shuffle(flagged_count, lanes);
    if (threadIdx.x % 32 == 0) atomic_count(survivors, flagged_count);
    if (threadIdx.x + blockIdx.x + blockIdx.y == 0)
        atomic_count(survivors + 1, static_cast<unsigned long long>(n) * k * ((m + 3) / 4));
}
