// The interval image of the distance at p = inf; see `inf_dist_bounds` of the definition for why it encloses.
//
// Certificates rest on this file: it subtracts, compares, negates and steps to neighbouring floats, nothing else.
#pragma once

#include "tiles.h"

namespace {

constexpr int TM_BOUNDS = TM / 2 < 2 ? 1 : 2;  // two accumulators a pair

// The next float towards +inf, from the order of bit patterns. x is not NaN.
inline float next_up(float x) {
  if (x == __builtin_inff()) return x;
  int32_t bits;
  memcpy(&bits, &x, 4);
  bits = x == 0 ? 1 : x > 0 ? bits + 1 : bits - 1;
  memcpy(&x, &bits, 4);
  return x;
}

inline float next_down(float x) { return -next_up(-x); }

struct Box {
  Matrix lower, upper;
};

// Over [begin, end): max of L - w and w - U, and min of the same.
inline __attribute__((always_inline)) void bounds_tile(const Rows<TN>& lower, const Rows<TN>& upper,
                                                       const Rows<TM_BOUNDS>& w, int64_t begin, int64_t end,
                                                       V4* most, V4* least) {
  V high[TM_BOUNDS][TN], low[TM_BOUNDS][TN];
  for (int m = 0; m < TM_BOUNDS; ++m)
    for (int n = 0; n < TN; ++n) high[m][n] = broadcast(-__builtin_inff()), low[m][n] = -high[m][n];
  over_columns<true>(begin, end, [&](auto at) __attribute__((always_inline)) {
    V ws[TM_BOUNDS];
#pragma GCC unroll 8
    for (int m = 0; m < TM_BOUNDS; ++m) ws[m] = at(w.at[m]);
#pragma GCC unroll 8
    for (int n = 0; n < TN; ++n) {
      const V ls = at(lower.at[n]), us = at(upper.at[n]);
#pragma GCC unroll 8
      for (int m = 0; m < TM_BOUNDS; ++m) {
        const V above = ls - ws[m], below = ws[m] - us;
        high[m][n] = maximum(maximum(high[m][n], above), below);
        low[m][n] = minimum(minimum(low[m][n], above), below);
      }
    }
  });
  for (int m = 0; m < TM_BOUNDS; ++m) {
    most[m] = fold_four<Max>(high[m][0], high[m][1], high[m][2], high[m][3]);
    least[m] = fold_four<Min>(low[m][0], low[m][1], low[m][2], low[m][3]);
  }
}

inline void finish_bounds(float& low, float& high, bool outward) {
  if (outward) low = next_down(low), high = next_up(high);
  if (!(low > 0)) low = 0;
}

// Returns 1 where a row of the task holds a NaN or an infinity; the bounds are then of no use.
inline int bounds_task(const Box& box, const Matrix& weight, const Task& task, bool outward, float* low, float* high) {
  const int64_t M = weight.rows, K = weight.k;
  bool not_finite = false;
  for (int64_t begin = 0; begin < K; begin += K_BLOCK) {
    const int64_t end = smaller(begin + K_BLOCK, K);
    not_finite |= any_not_finite(box.lower, task.n0, task.n1, begin, end);
    not_finite |= any_not_finite(box.upper, task.n0, task.n1, begin, end);
    for (int64_t m = task.m0; m < task.m1; m += TM_BOUNDS) {
      const int64_t rows = smaller(TM_BOUNDS, task.m1 - m);
      not_finite |= any_not_finite(weight, m, m + rows, begin, end);
      const Rows<TM_BOUNDS> w(weight, m);
      for (int64_t n = task.n0; n < task.n1; n += TN) {
        V4 most[TM_BOUNDS], least[TM_BOUNDS];
        bounds_tile(Rows<TN>(box.lower, n), Rows<TN>(box.upper, n), w, begin, end, most, least);
        for (int i = 0; i < smaller(TN, task.n1 - n); ++i)
          for (int j = 0; j < rows; ++j) {
            float &l = low[(n + i) * M + m + j], &h = high[(n + i) * M + m + j];
            const float block_low = most[j][i], block_high = -least[j][i];
            l = begin > 0 && l > block_low ? l : block_low;
            h = begin > 0 && h > block_high ? h : block_high;
            if (end == K) finish_bounds(l, h, outward);
          }
      }
    }
  }
  return not_finite;
}

}  // namespace
