// Distances at p = inf, and their interval image: maxima over differences, the two exact kernels. FMNMX drops
// NaN and a difference of infinities is one, so every row is also checked for what is not finite; its outputs
// become NaN here and are computed again, with care, by finish.cu.
#include <tiles.cuh>

constexpr int TILE = 128;  // rows of x (or of both ends of the boxes) and of weight a block
constexpr int STAGE = 2 * TILE * PITCH;

#ifdef BOUNDS
constexpr int OUTPUTS_Y = 4;  // lower ends take the first half of the tile's rows, upper ends the second
#else
constexpr int OUTPUTS_Y = 8;
#endif
constexpr int OUTPUTS_X = 8;

struct Maxima {
#ifdef BOUNDS
    float low[OUTPUTS_Y][OUTPUTS_X], high[OUTPUTS_Y][OUTPUTS_X];
#else
    float high[OUTPUTS_Y][OUTPUTS_X];
#endif
};

// One coordinate of one output.
DEVICE void fold(Maxima& maxima, int i, int j, float lower, float upper, float weight) {
#ifdef BOUNDS
    float above = lower - weight, below = weight - upper;
    maxima.low[i][j] = fmaxf(fmaxf(maxima.low[i][j], above), below);
    maxima.high[i][j] = fmaxf(fmaxf(maxima.high[i][j], -above), -below);
#else
    maxima.high[i][j] = fmaxf(maxima.high[i][j], fabsf(lower - weight));
#endif
}

DEVICE void fold_slab(Maxima& maxima, const float* x_rows, const float* weight_rows) {
    NO_UNROLL for (int k = 0; k < SLAB; k += 4) {
        float4 lower[OUTPUTS_Y], upper[OUTPUTS_Y];
        UNROLL for (int i = 0; i < OUTPUTS_Y; i++) {
            lower[i] = four(x_rows + i * 16 * PITCH + k);
#ifdef BOUNDS
            upper[i] = four(x_rows + (TILE / 2 + i * 16) * PITCH + k);
#else
            upper[i] = lower[i];
#endif
        }
        UNROLL for (int j = 0; j < OUTPUTS_X; j++) {
            float4 weight = four(weight_rows + j * 16 * PITCH + k);
            UNROLL for (int i = 0; i < OUTPUTS_Y; i++) {
                fold(maxima, i, j, lower[i].x, upper[i].x, weight.x);
                fold(maxima, i, j, lower[i].y, upper[i].y, weight.y);
                fold(maxima, i, j, lower[i].z, upper[i].z, weight.z);
                fold(maxima, i, j, lower[i].w, upper[i].w, weight.w);
            }
        }
    }
}

DEVICE void load_stage(float* stage, Rows x, Rows upper, Rows weight, int k, int k0) {
#ifdef BOUNDS
    load_rows<TILE / 2>(stage, x, k, k0);
    load_rows<TILE / 2>(stage + TILE / 2 * PITCH, upper, k, k0);
#else
    load_rows<TILE>(stage, x, k, k0);
#endif
    load_rows<TILE>(stage + TILE * PITCH, weight, k, k0);
    copies_commit();
}

// grid: tiles of x, tiles of weight, splits of K. partial: [split, (low, high at bounds,) n, m].
KERNEL(THREADS, 2)
fold_maxima(const float* x, const float* upper, const float* weight, float* partial, int n, int m, int k,
            int slabs_a_split) {
    float* memory = shared_memory();
    Place at = place();
    Share share = share_of(k, slabs_a_split);
    Rows x_rows{x, static_cast<int>(blockIdx.x) * OUTPUTS_Y * 16, n};
    Rows upper_rows{upper, x_rows.first, n};
    Rows weight_rows{weight, static_cast<int>(blockIdx.y) * TILE, m};
    Maxima maxima{};
    float poison = 0;

    load_stage(memory, x_rows, upper_rows, weight_rows, k, share.begin);
    int stage = 0;
    NO_UNROLL for (int k0 = share.begin; k0 < share.end; k0 += SLAB, stage ^= 1) {
        copies_wait();
        __syncthreads();  // this slab has landed, and everyone is done with the other
        if (k0 + SLAB < share.end)
            load_stage(memory + (stage ^ 1) * STAGE, x_rows, upper_rows, weight_rows, k, k0 + SLAB);
        const float* slab = memory + stage * STAGE;
        poison = poison_of(slab + threadIdx.x * PITCH, poison);
        fold_slab(maxima, slab + at.y * PITCH, slab + (TILE + at.x) * PITCH);
    }

    __syncthreads();
    memory[threadIdx.x] = poison;
    __syncthreads();
    long long outputs = static_cast<long long>(n) * m;
    UNROLL for (int i = 0; i < OUTPUTS_Y; i++) UNROLL for (int j = 0; j < OUTPUTS_X; j++) {
        int row = x_rows.first + at.y + i * 16, column = weight_rows.first + at.x + j * 16;
        if (row >= n || column >= m) continue;
        float spoilt = memory[at.y + i * 16] + memory[TILE + at.x + j * 16];
        long long output = static_cast<long long>(row) * m + column;
#ifdef BOUNDS
        spoilt += memory[TILE / 2 + at.y + i * 16];
        partial[2 * blockIdx.z * outputs + output] = maxima.low[i][j] + spoilt;
        partial[(2 * blockIdx.z + 1) * outputs + output] = maxima.high[i][j] + spoilt;
#else
        partial[blockIdx.z * outputs + output] = maxima.high[i][j] + spoilt;
#endif
    }
}
