// The geometry of the backward at finite p: one power serves both gradients, and no addition is atomic.
//
// A block owns 32 columns k, a lane each, and a range of outputs m. Its WARPS warps take 32 rows n each; it
// walks over m in steps of four, then over further rows. A thread keeps its rows' part of the gradient to x to
// itself; the parts of the gradient to weight are added over the warps in order, once a step. The result does
// not depend on timing.
#pragma once
#include <powers.cuh>

#ifndef WARPS
#define WARPS 8
#endif

constexpr int ROWS = 32;             // rows n a thread
constexpr int STEP = 4;              // outputs m a step
constexpr int THREADS = WARPS * 32;
constexpr int BLOCK_ROWS = WARPS * ROWS;
constexpr int SUMS = WARPS * STEP * 32;  // partial sums over the warps, a step

struct Problem {
    int n, m, k, padded_n;
    int column, warp;
    bool inside;  // whether the thread's column exists
    int begin, end;  // steps over m

    DEVICE Problem(int n, int m, int k, int padded_n, int steps_a_split)
        : n(n), m(m), k(k), padded_n(padded_n), column(blockIdx.x * 32 + threadIdx.x % 32),
          warp(threadIdx.x / 32), inside(column < k), begin(blockIdx.y * steps_a_split) {
        int steps = (m + STEP - 1) / STEP;
        end = begin + steps_a_split < steps ? begin + steps_a_split : steps;
    }

    // Beyond N and M stand the last row's values: a difference of real rows is no larger than a real distance,
    // so that its power, times an entry of 0, is 0.
    DEVICE float x_at(const float* x, int row) const {
        return inside ? x[static_cast<long long>(row < n ? row : n - 1) * k + column] : 0;
    }

    DEVICE void weights_at(float (&to)[STEP], const float* weight, int step) const {
        int row = step * STEP, last = m - 1 - row;
        const float* from = weight + static_cast<long long>(row) * k + column;
        UNROLL for (int j = 0; j < STEP; j++)
            to[j] = inside && step < end ? from[static_cast<long long>(j < last ? j : last) * k] : 0;
    }

    // Leaves this thread's part of a step's gradient to weight for `add_up` after the next barrier.
    DEVICE void leave(float* sums, const float (&parts)[STEP]) const {
        UNROLL for (int j = 0; j < STEP; j++) sums[(warp * STEP + j) * 32 + threadIdx.x % 32] = parts[j];
    }

    // Adds a step's parts over the warps, in their order. Warp j takes output j of the step.
    DEVICE void add_up(float* grad_weight, const float* sums, int step, bool first_rows) const {
        int row = step * STEP + warp;
        if (warp >= STEP || row >= m || !inside) return;
        const float* from = sums + threadIdx.x;
        float sum = 0;
        UNROLL for (int w = 0; w < WARPS; w++) sum += from[w * STEP * 32];
        float* to = grad_weight + static_cast<long long>(row) * k + column;
        *to = first_rows ? -sum : *to - sum;
    }
};

// Starts the copy of a step's packed entries, FLOATS for each row of the block.
template <int FLOATS>
DEVICE void load_entries(float* stage, const float* packed, const Problem& problem, int step, int first_row) {
    const float* from = packed + (static_cast<long long>(step) * problem.padded_n + first_row) * FLOATS;
    UNROLL for (int piece = 0; piece < FLOATS / 4; piece++) {
        int at = (piece * THREADS + threadIdx.x) * 4;
        copy_async_16(stage + at, from + at, 16);
    }
    copies_commit();
}

DEVICE float4 four(const float* address) { return *reinterpret_cast<const float4*>(address); }

// `value` with its sign turned where d is negative.
DEVICE float along(float value, float d) { return bits_float(float_bits(value) ^ (float_bits(d) & 0x80000000u)); }
