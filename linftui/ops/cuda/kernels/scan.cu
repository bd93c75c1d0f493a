// The p-norm at large p in one pass that looks only at what can matter: all terms but the few near the maximum
// vanish in rounding.
//
// The loop over all elements is a subtraction and a comparison with a threshold in a register. Outputs for
// which one of four coordinates passed are flagged in a mask of 32 bits, one an output of the thread; once a slab
// the flagged are worked off bit by bit, each lane its own, against the running maximum in shared memory, and the
// thresholds follow that maximum. They start from the maximum over the first coordinates (`seed`, from fold.cu).
#include <powers.cuh>
#include <tiles.cuh>

constexpr int TILE_Y = 128, TILE_X = 64;
constexpr int OUTPUTS_Y = 8, OUTPUTS_X = 4, OUTPUTS = OUTPUTS_Y * OUTPUTS_X;
constexpr int STAGE = (TILE_Y + TILE_X) * PITCH;

// A thread's 32 running maxima and sums in their units; entry o of thread t lies at [o][t], free of conflicts.
struct Running {
    float *best, *sum, p, ratio;

    // What is below `ratio` times the maximum is dropped: all K of them together change y by 2^-22 at most.
    DEVICE Running(float* memory, const float* numbers, int k)
        : best(memory + threadIdx.x), sum(best + OUTPUTS * THREADS), p(numbers[0]),
          ratio(exp2f(-fmaxf(22 + log2f(k * numbers[1]), 1.0f) * numbers[1])) {}

    DEVICE void take(int output, const float (&d)[4]) const {
        float before = best[output * THREADS], total = sum[output * THREADS];
        float largest = fmaxf(fmaxf(before, fmaxf(d[0], d[1])), fmaxf(d[2], d[3]));
        float inverse = reciprocal_special(scale_of(largest));
        if (largest > before) {
            total *= power(before * inverse);
            best[output * THREADS] = largest;
        }
        UNROLL for (int i = 0; i < 4; i++) total += power(d[i] * inverse);
        sum[output * THREADS] = total;
    }

    DEVICE float power(float r) const { return exp2_special(p * log2_special(r)); }
};

struct Thresholds {
    float of[OUTPUTS];

    DEVICE void follow(const Running& running) {
        UNROLL for (int o = 0; o < OUTPUTS; o++) of[o] = running.best[o * THREADS] * running.ratio;
    }
};

DEVICE unsigned flag(const Thresholds& thresholds, const float* x_rows, const float* weight_rows) {
    unsigned flagged = 0;
    float4 weight[OUTPUTS_X];
    UNROLL for (int j = 0; j < OUTPUTS_X; j++) weight[j] = four(weight_rows + j * 16 * PITCH);
    UNROLL for (int i = 0; i < OUTPUTS_Y; i++) {
        float4 x = four(x_rows + i * 16 * PITCH);
        UNROLL for (int j = 0; j < OUTPUTS_X; j++) {
            float threshold = thresholds.of[i * OUTPUTS_X + j];
            bool passed = fabsf(x.x - weight[j].x) > threshold;
            passed |= fabsf(x.y - weight[j].y) > threshold;
            passed |= fabsf(x.z - weight[j].z) > threshold;
            passed |= fabsf(x.w - weight[j].w) > threshold;
            if (passed) flagged |= 1u << (i * OUTPUTS_X + j);
        }
    }
    return flagged;
}

// The masks of the four quarters of a slab.
struct Flags {
    unsigned quarter[4];

    DEVICE void push(unsigned mask) {
        UNROLL for (int i = 0; i < 3; i++) quarter[i] = quarter[i + 1];
        quarter[3] = mask;
    }

    DEVICE bool any() const { return quarter[0] | quarter[1] | quarter[2] | quarter[3]; }

    DEVICE int count() const {
        return count_bits(quarter[0]) + count_bits(quarter[1]) + count_bits(quarter[2]) + count_bits(quarter[3]);
    }
};

// Joined over the slab, since a warp waits for the lane with the most.
DEVICE void work_off(Flags flags, const Running& running, const float* x_rows, const float* weight_rows) {
    while (flags.any()) {
        int first = 3;
        UNROLL for (int i = 2; i >= 0; i--) first = flags.quarter[i] ? i : first;
        unsigned mask = 0;
        UNROLL for (int i = 0; i < 4; i++) {
            if (i != first) continue;
            mask = flags.quarter[i];
            flags.quarter[i] &= mask - 1;
        }
        int output = first_bit(mask);
        float4 x = four(x_rows + output / OUTPUTS_X * 16 * PITCH + first * 4);
        float4 weight = four(weight_rows + output % OUTPUTS_X * 16 * PITCH + first * 4);
        float d[4] = {fabsf(x.x - weight.x), fabsf(x.y - weight.y), fabsf(x.z - weight.z), fabsf(x.w - weight.w)};
        running.take(output, d);
    }
}

// grid: tiles of x, tiles of weight, splits of K. partial, partial_sum: [split, n, m]. seed: [n, m].
// survivors: counts groups of four coordinates, flagged and tested.
KERNEL(THREADS, 2)
scan(const float* x, const float* weight, const float* numbers, const float* seed, float* partial,
     float* partial_sum, unsigned long long* survivors, int n, int m, int k, int slabs_a_split) {
    float* memory = shared_memory();
    Place at = place();
    Share share = share_of(k, slabs_a_split);
    Rows x_rows{x, static_cast<int>(blockIdx.x) * TILE_Y, n};
    Rows weight_rows{weight, static_cast<int>(blockIdx.y) * TILE_X, m};
    Running running(memory + 2 * STAGE, numbers, k);
    float poison = 0;
    int flagged_count = 0;
    unsigned inside = 0;  // the outputs of this thread that exist
    UNROLL for (int o = 0; o < OUTPUTS; o++) {
        int row = x_rows.first + at.y + o / OUTPUTS_X * 16, column = weight_rows.first + at.x + o % OUTPUTS_X * 16;
        bool exists = row < n && column < m;
        if (exists) inside |= 1u << o;
        running.best[o * THREADS] = exists ? seed[static_cast<long long>(row) * m + column] : 0;
        running.sum[o * THREADS] = 0;
    }
    Thresholds thresholds;
    thresholds.follow(running);

    load_stage<TILE_Y, TILE_X>(memory, x_rows, weight_rows, k, share.begin);
    int stage = 0;
    NO_UNROLL for (int k0 = share.begin; k0 < share.end; k0 += SLAB, stage ^= 1) {
        copies_wait();
        __syncthreads();  // this slab has landed, and everyone is done with the other
        if (k0 + SLAB < share.end)
            load_stage<TILE_Y, TILE_X>(memory + (stage ^ 1) * STAGE, x_rows, weight_rows, k, k0 + SLAB);
        const float* slab = memory + stage * STAGE;
        const float *x_here = slab + at.y * PITCH, *weight_here = slab + (TILE_Y + at.x) * PITCH;
        if (threadIdx.x < TILE_Y + TILE_X) poison = poison_of(slab + threadIdx.x * PITCH, poison);
        Flags flags{};
        NO_UNROLL for (int i = 0; i < SLAB; i += 4)
            flags.push(flag(thresholds, x_here + i, weight_here + i) & inside);
        flagged_count += flags.count();
        work_off(flags, running, x_here, weight_here);
        thresholds.follow(running);
    }

    __syncthreads();
    if (threadIdx.x < TILE_Y + TILE_X) memory[threadIdx.x] = poison;
    __syncthreads();
    for (int lanes = 16; lanes; lanes /= 2) flagged_count += warp_shuffle(flagged_count, lanes);
    if (threadIdx.x % 32 == 0) atomic_count(survivors, flagged_count);
    if (threadIdx.x + blockIdx.x + blockIdx.y + blockIdx.z == 0)
        atomic_count(survivors + 1, static_cast<unsigned long long>(n) * m * ((k + 3) / 4));
    long long outputs = static_cast<long long>(n) * m;
    UNROLL for (int o = 0; o < OUTPUTS; o++) {
        int y = at.y + o / OUTPUTS_X * 16, x = at.x + o % OUTPUTS_X * 16;
        int row = x_rows.first + y, column = weight_rows.first + x;
        if (row >= n || column >= m) continue;
        long long output = blockIdx.z * outputs + static_cast<long long>(row) * m + column;
        partial[output] = running.best[o * THREADS] + (memory[y] + memory[TILE_Y + x]);
        partial_sum[output] = running.sum[o * THREADS];
    }
}
