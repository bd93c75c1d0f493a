// The distance at finite p: y = s (sum (|d| / s)^p)^(1/p) with s the largest |d| of the pair.
//
// Two passes, first for the maxima, then for the sums. Two shortcuts: whole powers of differences of ordinary
// size are summed without dividing by s, and at large p only those blocks of columns are visited a second time whose
// maximum comes close to s, for the rest adds nothing.
#pragma once

#include "inf.h"
#include "powers.h"

namespace {

constexpr int TM_POWERS = 2;       // rows of weight at once: powers need registers of their own
constexpr int64_t MOST_BLOCKS = 8;  // of columns whose maxima are remembered
constexpr float LEAST_SUM = 0x1p-100f, GREATEST_SUM = 0x1p+100f;  // within, a sum of raw powers has lost nothing

// Sums of powers of |d| * scale over packed vectors.
template <class Power>
inline void sum_tile(const Packed& tile, const Power& power, const V4* scale, V4* sum) {
#pragma GCC unroll 4
  for (int first = 0; first < TM; first += TM_POWERS) {
    V acc[TM_POWERS][TN] = {}, factor[TM_POWERS][TN];
    for (int m = 0; m < TM_POWERS; ++m)
      for (int n = 0; n < TN; ++n) factor[m][n] = broadcast(scale[first + m][n]);
    const float *x = tile.x, *w = tile.w + first * W;
    for (int64_t v = 0; v < tile.vectors; ++v, x += TN * W, w += TM * W) {
#pragma GCC unroll 8
      for (int m = 0; m < TM_POWERS; ++m)
#pragma GCC unroll 8
        for (int n = 0; n < TN; ++n)
          acc[m][n] = power.add(acc[m][n], load(x + n * W) - load(w + m * W), factor[m][n]);
    }
    for (int m = 0; m < TM_POWERS; ++m)
      sum[first + m] = fold_four<Sum>(acc[m][0], acc[m][1], acc[m][2], acc[m][3]);
  }
}

// Sums over all columns. Returns whether all entries were finite.
template <class Power>
inline bool sums_of_powers(const Matrix& x, const Matrix& weight, const Task& task, const Power& power,
                           PerTile<V4>& scale, PerTile<V4>& sum) {
  return over_tiles<1>({x}, weight, task, false, [&](const Packed& tile) {
    V4 here[TM], *so_far = sum.of(tile);
    sum_tile(tile, power, scale.of(tile), here);
    for (int m = 0; m < TM; ++m) so_far[m] = tile.begin > 0 ? so_far[m] + here[m] : here[m];
  });
}

// The factor for each largest difference. Returns whether each is 0 or large enough to have a reciprocal.
template <class Power>
inline bool scales(const Task& task, const Power& power, const PerTile<V4>& largest, PerTile<V4>& scale) {
  bool large_enough = true;
  for (int64_t m = 0; m * TM < task.m1 - task.m0; ++m)
    for (int64_t n = 0; n * TN < task.n1 - task.n0; ++n)
      for (int i = 0; i < TM; ++i) {
        const V4 s = largest.at[m][n][i];
        for (int j = 0; j < TN; ++j) {
          large_enough &= s[j] >= SMALLEST || s[j] == 0;
          scale.at[m][n][i][j] = s[j] > 0 ? power.scale(s[j]) : 0;
        }
      }
  return large_enough;
}

// y from the largest differences and sums of their powers. At p near 1 a sum may be infinite with its root; at a
// large p it may be below 1 by a rounding, its root never.
inline void store_roots(const Matrix& weight, const Task& task, const PowerFit& fit, const PerTile<V4>& largest,
                        const PerTile<V4>& sum, float* y) {
  const double inverse_p = 1 / fit.q;
  over_outputs(task, [&](int64_t n, int64_t m, const Place& place) {
    const float s = largest.of(place), root = times_root(s, sum.of(place), inverse_p);
    y[n * weight.rows + m] = root > s && s < __builtin_inff() ? root : s;
  });
}

// Returns 1 where a row holds a NaN or an infinity or a distance is too small; y is then of no use.
template <class Power>
inline int norm_task(const Matrix& x, const Matrix& weight, const Task& task, const PowerFit& fit, const Power& power,
                     float* y) {
  PerTile<V4> largest, scale, sum;
  if (!largest_differences(x, weight, task, largest) || !scales(task, power, largest, scale)) return 1;
  sums_of_powers(x, weight, task, power, scale, sum);
  store_roots(weight, task, fit, largest, sum, y);
  return 0;
}

// The same without a pass for maxima; false where a sum may have lost something, or is of what is not finite.
template <class Raw>
inline bool raw_task(const Matrix& x, const Matrix& weight, const Task& task, const PowerFit& fit, const Raw& power,
                     float* y) {
  PerTile<V4> sum, unused;
  bool safe = sums_of_powers(x, weight, task, power, unused, sum);
  over_outputs(task, [&](int64_t n, int64_t m, const Place& place) {
    const float value = sum.of(place);
    safe &= value > LEAST_SUM && value < GREATEST_SUM;
    y[n * weight.rows + m] = times_root(1, value, 1 / fit.q);
  });
  return safe;
}

// Sum of powers of one pair over the columns [begin, end), passing over vectors without a ratio above `near`.
template <class Power>
inline V sum_near(const float* x, const float* w, int64_t begin, int64_t end, const Power& power, V wanted, V scale,
                  V sum) {
  for (int64_t k = begin; k < end; k += W) {
    const int n = static_cast<int>(smaller(W, end - k));
    const V d = n == W ? load(x + k) - load(w + k) : load_part(x + k, n, 0) - load_part(w + k, n, 0);
    if (greater(absolute(d), wanted) != 0) sum = power.add(sum, d, scale);
  }
  return sum;
}

// As norm_task, for a large p: the maxima of blocks of columns tell which of them hold a ratio above `near`.
template <class Power>
inline int norm_near_task(const Matrix& x, const Matrix& weight, const Task& task, const PowerFit& fit,
                          const Power& power, float* y) {
  PerTile<V4> largest[MOST_BLOCKS], all, sum;
  const int64_t together = ceil_div(ceil_div(x.k, SEARCHED), MOST_BLOCKS) * SEARCHED;  // columns of a block
  const bool finite = over_tiles<1>({x}, weight, task, true, [&](const Packed& tile) {
    for (int64_t v = 0; v < tile.vectors; v += SEARCHED / W) {
      V4 here[TM];
      abs_max_tile(tile.x + v * TN * W, tile.w + v * TM * W, smaller(SEARCHED / W, tile.vectors - v), here);
      const int64_t begin = tile.begin + v * W;
      V4 *block = largest[begin / together].of(tile), *most = all.of(tile);
      for (int m = 0; m < TM; ++m) {
        block[m] = begin % together > 0 ? Max::of(block[m], here[m]) : here[m];
        most[m] = begin > 0 ? Max::of(most[m], here[m]) : here[m];
      }
    }
  });
  if (!finite) return 1;
  int too_small = 0;
  over_outputs(task, [&](int64_t n, int64_t m, const Place& place) {
    const float s = all.of(place), threshold = s * fit.near;
    if (s == 0) return;
    too_small |= s < SMALLEST;
    V total = {};
    for (int64_t b = 0; b * together < x.k; ++b)
      if (largest[b].of(place) > threshold)
        total = sum_near(x.row(n), weight.row(m), b * together, smaller((b + 1) * together, x.k), power,
                         broadcast(threshold), broadcast(power.scale(s)), total);
    sum.at[place.m_tile][place.n_tile][place.m][place.n] = fold_four<Sum>(total, total, total, total)[0];
  });
  store_roots(weight, task, fit, all, sum, y);
  return too_small;
}

}  // namespace
