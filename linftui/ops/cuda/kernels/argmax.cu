// The distance at p = inf with the slab of 16 coordinates in which it is first attained; finish.cu then finds the
// coordinate. Within a slab this is the plain maximum; once a slab each output is compared with its best so far,
// which costs three instructions for sixteen elements.
#include <tiles.cuh>

constexpr int TILE_Y = 128, TILE_X = 64;
constexpr int OUTPUTS_Y = 8, OUTPUTS_X = 4, OUTPUTS = OUTPUTS_Y * OUTPUTS_X;
constexpr int STAGE = (TILE_Y + TILE_X) * PITCH;

DEVICE void fold_slab(float (&largest)[OUTPUTS], const float* x_rows, const float* weight_rows) {
    NO_UNROLL for (int k = 0; k < SLAB; k += 4) {
        float4 x[OUTPUTS_Y];
        UNROLL for (int i = 0; i < OUTPUTS_Y; i++) x[i] = four(x_rows + i * 16 * PITCH + k);
        UNROLL for (int j = 0; j < OUTPUTS_X; j++) {
            float4 weight = four(weight_rows + j * 16 * PITCH + k);
            UNROLL for (int i = 0; i < OUTPUTS_Y; i++) {
                float& value = largest[i * OUTPUTS_X + j];
                value = fmaxf(value, fabsf(x[i].x - weight.x));
                value = fmaxf(value, fabsf(x[i].y - weight.y));
                value = fmaxf(value, fabsf(x[i].z - weight.z));
                value = fmaxf(value, fabsf(x[i].w - weight.w));
            }
        }
    }
}

// grid: tiles of x, tiles of weight, splits of K. partial, partial_slab: [split, n, m]; slabs count from 0.
KERNEL(THREADS, 2)
argmax_slabs(const float* x, const float* weight, float* partial, int* partial_slab, int n, int m, int k,
             int slabs_a_split) {
    float* memory = shared_memory();
    // Rarely written, so not in registers; entry o of thread t lies at [o][t].
    int* slab_of = reinterpret_cast<int*>(memory + 2 * STAGE) + threadIdx.x;
    Place at = place();
    Share share = share_of(k, slabs_a_split);
    Rows x_rows{x, static_cast<int>(blockIdx.x) * TILE_Y, n};
    Rows weight_rows{weight, static_cast<int>(blockIdx.y) * TILE_X, m};
    float best[OUTPUTS] = {}, poison = 0;
    UNROLL for (int o = 0; o < OUTPUTS; o++) slab_of[o * THREADS] = share.begin / SLAB;

    load_stage<TILE_Y, TILE_X>(memory, x_rows, weight_rows, k, share.begin);
    int stage = 0, number = share.begin / SLAB;
    NO_UNROLL for (int k0 = share.begin; k0 < share.end; k0 += SLAB, number++, stage ^= 1) {
        copies_wait();
        __syncthreads();  // this slab has landed, and everyone is done with the other
        if (k0 + SLAB < share.end)
            load_stage<TILE_Y, TILE_X>(memory + (stage ^ 1) * STAGE, x_rows, weight_rows, k, k0 + SLAB);
        const float* slab = memory + stage * STAGE;
        if (threadIdx.x < TILE_Y + TILE_X) poison = poison_of(slab + threadIdx.x * PITCH, poison);
        float largest[OUTPUTS] = {};
        fold_slab(largest, slab + at.y * PITCH, slab + (TILE_Y + at.x) * PITCH);
        UNROLL for (int o = 0; o < OUTPUTS; o++) {
            if (largest[o] > best[o]) best[o] = largest[o], slab_of[o * THREADS] = number;
        }
    }

    __syncthreads();
    if (threadIdx.x < TILE_Y + TILE_X) memory[threadIdx.x] = poison;
    __syncthreads();
    long long outputs = static_cast<long long>(n) * m;
    UNROLL for (int o = 0; o < OUTPUTS; o++) {
        int y = at.y + o / OUTPUTS_X * 16, x = at.x + o % OUTPUTS_X * 16;
        int row = x_rows.first + y, column = weight_rows.first + x;
        if (row >= n || column >= m) continue;
        long long output = blockIdx.z * outputs + static_cast<long long>(row) * m + column;
        partial[output] = best[o] + (memory[y] + memory[TILE_Y + x]);
        partial_slab[output] = slab_of[o * THREADS];
    }
}
