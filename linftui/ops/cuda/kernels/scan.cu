// One pass that looks only at what can matter: the maximum with its first index (ARGMAX), and the p-norm at
// large p, where all terms but the few near the maximum vanish in rounding.
//
// The loop over all elements is a subtraction and a comparison with a threshold in a register. Outputs for
// which one of four coordinates passed are flagged in a mask of 32 bits, one an output of the thread; the
// flagged are then worked off bit by bit, each lane its own, against the running maximum in shared memory, and
// the thresholds follow that maximum.
#include <powers.cuh>
#include <tiles.cuh>

constexpr int TILE_Y = 128, TILE_X = 64;
constexpr int OUTPUTS_Y = 8, OUTPUTS_X = 4, OUTPUTS = OUTPUTS_Y * OUTPUTS_X;
constexpr int STAGE = (TILE_Y + TILE_X) * PITCH;

// A thread's 32 running maxima and what goes with them; entry o of thread t lies at [o][t], free of conflicts.
struct Running {
    float* best;
#ifdef ARGMAX
    int* index;
    static constexpr float ratio = 1;  // only what exceeds the maximum counts: the first index wins

    DEVICE Running(float* memory, const float*, int)
        : best(memory), index(reinterpret_cast<int*>(memory + OUTPUTS * THREADS)) {}

    DEVICE void start(int at) const { best[at] = 0, index[at] = 0; }

    DEVICE void take(int at, const float (&d)[4], int k) const {
        float largest = best[at];
        int first = index[at];
        UNROLL for (int i = 0; i < 4; i++) {
            if (d[i] > largest) largest = d[i], first = k + i;
        }
        best[at] = largest;
        index[at] = first;
    }
#else
    float* sum;
    float p, ratio;

    // What is below `ratio` times the maximum is dropped: all K of them together change y by 2^-22 at most.
    DEVICE Running(float* memory, const float* numbers, int k)
        : best(memory), sum(memory + OUTPUTS * THREADS), p(numbers[0]),
          ratio(exp2f(-fmaxf(22 + log2f(k * numbers[1]), 1.0f) * numbers[1])) {}

    DEVICE void start(int at) const { best[at] = 0, sum[at] = 0; }

    DEVICE void take(int at, const float (&d)[4], int) const {
        float before = best[at], largest = fmaxf(fmaxf(before, fmaxf(d[0], d[1])), fmaxf(d[2], d[3]));
        if (!(largest > 0)) return;
        float inverse = reciprocal_special(scale_of(largest)), total = sum[at];
        if (largest > before) {
            total *= power(before * inverse);
            best[at] = largest;
        }
        UNROLL for (int i = 0; i < 4; i++) total += power(d[i] * inverse);
        sum[at] = total;
    }

    DEVICE float power(float r) const { return exp2_special(p * log2_special(r)); }
#endif
};

struct Thresholds {
    float of[OUTPUTS];

    DEVICE void follow(const Running& running) {
        UNROLL for (int o = 0; o < OUTPUTS; o++) of[o] = running.best[o * THREADS + threadIdx.x] * running.ratio;
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

DEVICE void work_off(unsigned flagged, const Running& running, const float* x_rows, const float* weight_rows,
                     int k) {
    for (; flagged; flagged &= flagged - 1) {
        int output = first_bit(flagged);
        float4 x = four(x_rows + output / OUTPUTS_X * 16 * PITCH);
        float4 weight = four(weight_rows + output % OUTPUTS_X * 16 * PITCH);
        float d[4] = {fabsf(x.x - weight.x), fabsf(x.y - weight.y), fabsf(x.z - weight.z), fabsf(x.w - weight.w)};
        running.take(output * THREADS + threadIdx.x, d, k);
    }
}

DEVICE void load_stage(float* stage, Rows x, Rows weight, int k, int k0) {
    load_rows<TILE_Y>(stage, x, k, k0);
    load_rows<TILE_X>(stage + TILE_Y * PITCH, weight, k, k0);
    copies_commit();
}

// grid: tiles of x, tiles of weight, splits of K. partial, beside: [split, n, m], the second the index or sum.
// survivors: counts groups of four coordinates, flagged and tested.
KERNEL(THREADS, 2)
scan(const float* x, const float* weight, const float* numbers, float* partial, void* beside,
     unsigned long long* survivors, int n, int m, int k, int slabs_a_split) {
    float* memory = shared_memory();
    Place at = place();
    Share share = share_of(k, slabs_a_split);
    Rows x_rows{x, static_cast<int>(blockIdx.x) * TILE_Y, n};
    Rows weight_rows{weight, static_cast<int>(blockIdx.y) * TILE_X, m};
    Running running(memory + 2 * STAGE, numbers, k);
    UNROLL for (int o = 0; o < OUTPUTS; o++) running.start(o * THREADS + threadIdx.x);
    Thresholds thresholds{};
    float poison = 0;
    int flagged_count = 0;
    unsigned inside = 0;  // the outputs of this thread that exist
    UNROLL for (int o = 0; o < OUTPUTS; o++)
        if (x_rows.first + at.y + o / OUTPUTS_X * 16 < n && weight_rows.first + at.x + o % OUTPUTS_X * 16 < m) inside |= 1u << o;

    load_stage(memory, x_rows, weight_rows, k, share.begin);
    int stage = 0;
    NO_UNROLL for (int k0 = share.begin; k0 < share.end; k0 += SLAB, stage ^= 1) {
        copies_wait();
        __syncthreads();  // this slab has landed, and everyone is done with the other
        if (k0 + SLAB < share.end) load_stage(memory + (stage ^ 1) * STAGE, x_rows, weight_rows, k, k0 + SLAB);
        const float* slab = memory + stage * STAGE;
        if (threadIdx.x < TILE_Y + TILE_X) poison = poison_of(slab + threadIdx.x * PITCH, poison);
        NO_UNROLL for (int i = 0; i < SLAB; i += 4) {
            const float *x_here = slab + at.y * PITCH + i, *weight_here = slab + (TILE_Y + at.x) * PITCH + i;
            unsigned flagged = flag(thresholds, x_here, weight_here) & inside;
            flagged_count += count_bits(flagged);
            work_off(flagged, running, x_here, weight_here, k0 + i);
            // At first nearly everything passes; later once a slab is enough.
            if (k0 == share.begin || i + 4 == SLAB) thresholds.follow(running);
        }
    }

    __syncthreads();
    if (threadIdx.x < TILE_Y + TILE_X) memory[threadIdx.x] = poison;
    __syncthreads();
    for (int lanes = 16; lanes; lanes /= 2) flagged_count += warp_shuffle(flagged_count, lanes);
    if (threadIdx.x % 32 == 0) atomic_count(survivors, flagged_count);
    if (threadIdx.x + blockIdx.x + blockIdx.y + blockIdx.z == 0)
        atomic_count(survivors + 1, static_cast<unsigned long long>(n) * m * ((k + 3) / 4));
    long long outputs = static_cast<long long>(n) * m;
    UNROLL for (int i = 0; i < OUTPUTS_Y; i++) UNROLL for (int j = 0; j < OUTPUTS_X; j++) {
        int row = x_rows.first + at.y + i * 16, column = weight_rows.first + at.x + j * 16;
        if (row >= n || column >= m) continue;
        int entry = (i * OUTPUTS_X + j) * THREADS + threadIdx.x;
        float spoilt = memory[at.y + i * 16] + memory[TILE_Y + at.x + j * 16];
        long long output = blockIdx.z * outputs + static_cast<long long>(row) * m + column;
        partial[output] = running.best[entry] + spoilt;
#ifdef ARGMAX
        static_cast<int*>(beside)[output] = running.index[entry];
#else
        static_cast<float*>(beside)[output] = running.sum[entry];
#endif
    }
}
