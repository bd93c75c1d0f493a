// Sums of powers of every difference: the dense forward at finite p.
//
// POWER = 1..8: |d|^POWER by multiplications, without a scale. Sums outside the range in which float32 is safe
// are noticed and done again by finish.cu; distances of about 2^-10 to 2^15 are inside at every POWER.
// Otherwise any real p, scaled by the largest difference of each output (`largest`, from fold.cu): half of the
// coordinates through the special-function units, 2^(p log2 r), and, where SQUARINGS is given, the other half
// through the ordinary ones, P(1 - r)^(2^SQUARINGS) with a polynomial P of degree DEGREE that the host fitted
// to r^(p / 2^SQUARINGS). Each kind of unit then works while the other does.
#include <powers.cuh>
#include <tiles.cuh>

constexpr int TILE_Y = 128, TILE_X = 64;
constexpr int OUTPUTS_Y = 8, OUTPUTS_X = 4;
constexpr int STAGE = (TILE_Y + TILE_X) * PITCH;

struct Sums {
    float sum[OUTPUTS_Y][OUTPUTS_X];
#ifndef POWER
    float inverse[OUTPUTS_Y][OUTPUTS_X];  // 1 / largest
#endif
};

#ifdef POWER
DEVICE void add_slab(Sums& sums, const Exponent&, const float* x_rows, const float* weight_rows) {
    Sums slab{};  // short sums first: rounding grows with their number, not with K
#else
DEVICE void add_slab(Sums& slab, const Exponent& exponent, const float* x_rows, const float* weight_rows) {
#endif
    NO_UNROLL for (int k = 0; k < SLAB; k += 4) {
        float4 weight[OUTPUTS_X];
        UNROLL for (int j = 0; j < OUTPUTS_X; j++) weight[j] = four(weight_rows + j * 16 * PITCH + k);
        UNROLL for (int i = 0; i < OUTPUTS_Y; i++) {
            float4 x = four(x_rows + i * 16 * PITCH + k);
            UNROLL for (int j = 0; j < OUTPUTS_X; j++) {
#ifdef POWER
                add_whole_power<POWER>(slab.sum[i][j], x.x - weight[j].x);
                add_whole_power<POWER>(slab.sum[i][j], x.y - weight[j].y);
                add_whole_power<POWER>(slab.sum[i][j], x.z - weight[j].z);
                add_whole_power<POWER>(slab.sum[i][j], x.w - weight[j].w);
#else
                float inverse = slab.inverse[i][j];
                slab.sum[i][j] += exponent.special(fabsf(x.x - weight[j].x) * inverse);
                exponent.add_ordinary(slab.sum[i][j], x.y - weight[j].y, inverse);
                slab.sum[i][j] += exponent.special(fabsf(x.z - weight[j].z) * inverse);
                exponent.add_ordinary(slab.sum[i][j], x.w - weight[j].w, inverse);
#endif
            }
        }
    }
#ifdef POWER
    UNROLL for (int i = 0; i < OUTPUTS_Y; i++) UNROLL for (int j = 0; j < OUTPUTS_X; j++)
        sums.sum[i][j] += slab.sum[i][j];
#endif
}

// grid: tiles of x, tiles of weight, splits of K. partial: [split, n, m]. largest: [n, m], unused at POWER.
KERNEL(THREADS, 2)
sum_powers(const float* x, const float* weight, const float* largest, const float* numbers, float* partial,
           int n, int m, int k, int slabs_a_split) {
    float* memory = shared_memory();
    Place at = place();
    Share share = share_of(k, slabs_a_split);
    Rows x_rows{x, static_cast<int>(blockIdx.x) * TILE_Y, n};
    Rows weight_rows{weight, static_cast<int>(blockIdx.y) * TILE_X, m};
    Sums sums{};
    Exponent exponent(numbers + FORWARD);
#ifndef POWER
    UNROLL for (int i = 0; i < OUTPUTS_Y; i++) UNROLL for (int j = 0; j < OUTPUTS_X; j++) {
        int row = x_rows.first + at.y + i * 16, column = weight_rows.first + at.x + j * 16;
        if (row < n && column < m) sums.inverse[i][j] = 1 / scale_of(largest[static_cast<long long>(row) * m + column]);
    }
#endif

    load_stage<TILE_Y, TILE_X>(memory, x_rows, weight_rows, k, share.begin);
    int stage = 0;
    NO_UNROLL for (int k0 = share.begin; k0 < share.end; k0 += SLAB, stage ^= 1) {
        copies_wait();
        __syncthreads();  // this slab has landed, and everyone is done with the other
        if (k0 + SLAB < share.end)
            load_stage<TILE_Y, TILE_X>(memory + (stage ^ 1) * STAGE, x_rows, weight_rows, k, k0 + SLAB);
        const float* slab = memory + stage * STAGE;
        add_slab(sums, exponent, slab + at.y * PITCH, slab + (TILE_Y + at.x) * PITCH);
    }

    long long outputs = static_cast<long long>(n) * m;
    UNROLL for (int i = 0; i < OUTPUTS_Y; i++) UNROLL for (int j = 0; j < OUTPUTS_X; j++) {
        int row = x_rows.first + at.y + i * 16, column = weight_rows.first + at.x + j * 16;
        if (row < n && column < m)
            partial[blockIdx.z * outputs + static_cast<long long>(row) * m + column] = sums.sum[i][j];
    }
}
