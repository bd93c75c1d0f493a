// The distance at finite p: y = s (sum (|d| / s)^p)^(1/p) with s the largest |d| of the pair.
//
// Two passes over a tile, first the maxima, then the sums. Two shortcuts: whole powers of differences of ordinary
// size are summed without dividing by s, and at large p only those blocks of columns are visited a second time whose
// maximum comes close to s, for the rest adds nothing.
#pragma once

#include "inf.h"
#include "powers.h"

namespace {

constexpr int TM_POWERS = 2;          // rows of weight at once: powers need registers of their own
constexpr int MOST_BLOCKS = 64;       // whose maxima are remembered
constexpr float LEAST_SUM = 0x1p-100f, GREATEST_SUM = 0x1p+100f;  // within, a sum of raw powers has lost nothing

struct NormTile {
  const Rows<TN>& x;
  const Rows<TM>& w;
  int64_t k;
  double inverse_p;
  float near;  // ratios below add nothing
};

// Sums of powers of |d| * scale over [0, k).
template <class Power>
inline void sum_tile(const NormTile& tile, const Power& power, const float (*scale)[TN], float (*sum)[TN]) {
  for (int first = 0; first < TM; first += TM_POWERS) {
    V acc[TM_POWERS][TN] = {};
    over_columns<false>(0, tile.k, [&](auto at) __attribute__((always_inline)) {
      V xs[TN];
#pragma GCC unroll 8
      for (int n = 0; n < TN; ++n) xs[n] = at(tile.x.at[n]);
#pragma GCC unroll 8
      for (int m = 0; m < TM_POWERS; ++m) {
        const V ws = at(tile.w.at[first + m]);
#pragma GCC unroll 8
        for (int n = 0; n < TN; ++n)
          acc[m][n] = power.add(acc[m][n], xs[n] - ws, broadcast(scale[first + m][n]));
      }
    });
    for (int m = 0; m < TM_POWERS; ++m) {
      const V4 sums = fold_four<Sum>(acc[m][0], acc[m][1], acc[m][2], acc[m][3]);
      memcpy(sum[first + m], &sums, sizeof sums);
    }
  }
}

// As sum_tile, where blocks of columns without a ratio above `near` are passed over.
template <class Power>
inline void sum_near_tile(const NormTile& tile, const Power& power, const float (*largest)[TN],
                          const float (*scale)[TN], const float (*block_largest)[TM][TN], int64_t block,
                          float (*sum)[TN]) {
  for (int m = 0; m < TM; ++m)
    for (int n = 0; n < TN; ++n) {
      const float threshold = largest[m][n] * tile.near;
      const V wanted = broadcast(threshold), factor = broadcast(scale[m][n]);
      V acc = {};
      for (int64_t b = 0; b * block < tile.k; ++b) {
        if (!(block_largest[b][m][n] > threshold)) continue;
        over_columns<false>(b * block, smaller((b + 1) * block, tile.k), [&](auto at) __attribute__((always_inline)) {
          const V d = at(tile.x.at[n]) - at(tile.w.at[m]);
          if (greater(absolute(d), wanted) != 0) acc = power.add(acc, d, factor);
        });
      }
      sum[m][n] = fold_four<Sum>(acc, acc, acc, acc)[0];
    }
}

// Returns 1 where a distance is too small for its reciprocal.
template <class Power, bool Near>
inline int norm_tile(const NormTile& tile, const Power& power, float (*y)[TN]) {
  float largest[TM][TN] = {}, scale[TM][TN], sum[TM][TN], block_largest[Near ? MOST_BLOCKS : 1][TM][TN];
  const int64_t most = Near ? MOST_BLOCKS : 1, at_least = Near ? SEARCHED : W;
  const int64_t block = ceil_div(ceil_div(tile.k, most) + at_least - 1, W) * W;
  for (int64_t b = 0; b * block < tile.k; ++b) {
    V4 here[TM];
    abs_max_tile(tile.x, tile.w, b * block, smaller((b + 1) * block, tile.k), here);
    memcpy(block_largest[b], here, sizeof here);
    for (int m = 0; m < TM; ++m)
      for (int n = 0; n < TN; ++n) largest[m][n] = here[m][n] > largest[m][n] ? here[m][n] : largest[m][n];
  }
  int too_small = 0;
  for (int m = 0; m < TM; ++m)
    for (int n = 0; n < TN; ++n) {
      too_small |= largest[m][n] > 0 && largest[m][n] < SMALLEST;
      scale[m][n] = largest[m][n] > 0 ? power.scale(largest[m][n]) : 0;
    }
  if constexpr (Near)
    sum_near_tile(tile, power, largest, scale, block_largest, block, sum);
  else
    sum_tile(tile, power, scale, sum);
  for (int m = 0; m < TM; ++m)
    for (int n = 0; n < TN; ++n) {
      const float s = largest[m][n], root = times_root(s, sum[m][n], tile.inverse_p);
      y[m][n] = root > s && s < __builtin_inff() ? root : s;
    }
  return too_small;
}

// Sums raw powers; false where one of them may have lost too much.
template <class Raw>
inline bool raw_tile(const NormTile& tile, const Raw& power, float (*y)[TN]) {
  const float unused[TM][TN] = {};
  bool safe = true;
  sum_tile(tile, power, unused, y);
  for (int m = 0; m < TM; ++m)
    for (int n = 0; n < TN; ++n) safe &= y[m][n] > LEAST_SUM && y[m][n] < GREATEST_SUM;
  for (int m = 0; safe && m < TM; ++m)
    for (int n = 0; n < TN; ++n) y[m][n] = times_root(1, y[m][n], tile.inverse_p);
  return safe;
}

// Goes over the tiles of a task; of(tile, y) computes one. Returns 1 where a row holds a NaN or an infinity or a
// distance is too small: y is then of no use.
template <class OfTile>
inline int norm_task(const Matrix& x, const Matrix& weight, const Task& task, const PowerFit& fit, float* y, OfTile of) {
  const int64_t M = weight.rows;
  int status = any_not_finite(x, task.n0, task.n1, 0, x.k) | any_not_finite(weight, task.m0, task.m1, 0, x.k);
  for (int64_t m = task.m0; m < task.m1; m += TM) {
    const Rows<TM> w(weight, m);
    for (int64_t n = task.n0; n < task.n1; n += TN) {
      const Rows<TN> xs(x, n);
      float out[TM][TN];
      status |= of(NormTile{xs, w, x.k, 1 / fit.q, fit.near}, out);
      for (int i = 0; i < smaller(TN, task.n1 - n); ++i)
        for (int j = 0; j < smaller(TM, task.m1 - m); ++j) y[(n + i) * M + m + j] = out[j][i];
    }
  }
  return status;
}

}  // namespace
