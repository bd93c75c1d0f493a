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

struct NormSpace {
  Packing packing;
  PerTile<V4> largest, scale, sum, blocks[MOST_BLOCKS];
};

// Sums of powers of |d| * scale over packed vectors.
template <class Power>
inline void sum_tile(const Packed& tile, const Power& power, const V4* scale, V4* sum) {
#pragma GCC unroll 4
  for (int first = 0; first < TM; first += TM_POWERS) {
    V acc[TM_POWERS][TN] = {}, factor[TM_POWERS][TN];
    for (int m = 0; m < TM_POWERS; ++m)
      for (int n = 0; n < TN; ++n) factor[m][n] = Power::SCALED ? broadcast(scale[first + m][n]) : V{};
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
                           NormSpace& space) {
  return over_tiles<1>({x}, weight, task, false, space.packing, [&](const Packed& tile) {
    V4 here[TM], *so_far = space.sum.of(tile);
    sum_tile(tile, power, space.scale.of(tile), here);
    for (int m = 0; m < TM; ++m) so_far[m] = tile.begin > 0 ? so_far[m] + here[m] : here[m];
  });
}

// The factor for each largest difference.
template <class Power>
inline void fill_scales(const Task& task, const Power& power, NormSpace& space) {
  for (int64_t m = 0; m * TM < task.m1 - task.m0; ++m)
    for (int64_t n = 0; n * TN < task.n1 - task.n0; ++n)
      for (int i = 0; i < TM; ++i) {
        const V4 s = space.largest.at[m][n][i];
        for (int j = 0; j < TN; ++j) space.scale.at[m][n][i][j] = s[j] > 0 ? power.scale(s[j]) : 0;
      }
}

// y from the largest differences and sums of their powers. At p near 1 a sum may be infinite with its root; at a
// large p it may be below 1 by a rounding, its root never. With `missing` only where y is a NaN. Returns 1 where a
// distance is too small to have had a scale.
inline int store_roots(const Matrix& weight, const Task& task, const PowerFit& fit, bool missing,
                       const NormSpace& space, float* y) {
  const double inverse_p = 1 / fit.q;
  int too_small = 0;
  over_outputs(task, [&](int64_t n, int64_t m, const Place& place) {
    float& to = y[n * weight.rows + m];
    const float s = space.largest.of(place), root = times_root(s, space.sum.of(place), inverse_p);
    const bool wanted = !missing || to != to;
    to = wanted ? (root > s && s < __builtin_inff() ? root : s) : to;  // always a store, so that roots are vectors
    too_small |= wanted & (s > 0) & (s < SMALLEST);
  });
  return too_small;
}

// Returns 1 where a row holds a NaN or an infinity or a distance is too small; y is then of no use. With `missing` it
// stores only what `raw_task` left.
template <class Power>
inline int norm_task(const Matrix& x, const Matrix& weight, const Task& task, const PowerFit& fit, const Power& power,
                     bool missing, NormSpace& space, float* y) {
  if (!largest_differences(x, weight, task, space.packing, space.largest)) return 1;
  fill_scales(task, power, space);
  sums_of_powers(x, weight, task, power, space);
  return store_roots(weight, task, fit, missing, space, y);
}

// The same without a pass for maxima. Where a sum may have lost something, or is of what is not finite, it leaves a
// NaN, and returns false: each output by itself, so that none depends on the others of its task.
template <class Raw>
inline bool raw_task(const Matrix& x, const Matrix& weight, const Task& task, const PowerFit& fit, const Raw& power,
                     NormSpace& space, float* y) {
  bool all_safe = sums_of_powers(x, weight, task, power, space);
  over_outputs(task, [&](int64_t n, int64_t m, const Place& place) {
    const float sum = space.sum.of(place);
    const bool safe = sum > LEAST_SUM && sum < GREATEST_SUM;
    y[n * weight.rows + m] = safe ? times_root(1, sum, 1 / fit.q) : __builtin_nanf("");
    all_safe &= safe;
  });
  return all_safe;
}

// Sum of powers of one pair over the columns [begin, end), passing over vectors without a ratio above `near`.
template <class Power>
inline V sum_near(const float* x, const float* w, int64_t begin, int64_t end, const Power& power, V wanted, V scale,
                  V sum) {
  for (int64_t k = begin; k < end; k += W) {
    const V d = load_first(end - k, x + k, 0) - load_first(end - k, w + k, 0);
    if (greater(absolute(d), wanted) != 0) sum = power.add(sum, d, scale);
  }
  return sum;
}

// As norm_task, for a large p: the maxima of blocks of columns tell which of them hold a ratio above `near`.
template <class Power>
inline int norm_near_task(const Matrix& x, const Matrix& weight, const Task& task, const PowerFit& fit,
                          const Power& power, NormSpace& space, float* y) {
  const int64_t together = ceil_div(ceil_div(x.k, SEARCHED), MOST_BLOCKS) * SEARCHED;  // columns of a block
  const bool finite = over_tiles<1>({x}, weight, task, true, space.packing, [&](const Packed& tile) {
    for (int64_t v = 0; v < tile.vectors; v += SEARCHED / W) {
      V4 here[TM];
      abs_max_tile(tile.x + v * TN * W, tile.w + v * TM * W, smaller(SEARCHED / W, tile.vectors - v), here);
      const int64_t begin = tile.begin + v * W;
      V4 *block = space.blocks[begin / together].of(tile), *most = space.largest.of(tile);
      for (int m = 0; m < TM; ++m) {
        block[m] = begin % together > 0 ? Max::of(block[m], here[m]) : here[m];
        most[m] = begin > 0 ? Max::of(most[m], here[m]) : here[m];
      }
    }
  });
  if (!finite) return 1;
  over_outputs(task, [&](int64_t n, int64_t m, const Place& place) {
    const float s = space.largest.of(place), threshold = s * fit.near;
    V total = {};
    for (int64_t b = 0; b * together < x.k; ++b)
      if (space.blocks[b].of(place) > threshold)
        total = sum_near(x.row(n), weight.row(m), b * together, smaller((b + 1) * together, x.k), power,
                         broadcast(threshold), broadcast(power.scale(s)), total);
    space.sum.at[place.m_tile][place.n_tile][place.m][place.n] = fold_four<Sum>(total, total, total, total)[0];
  });
  return store_roots(weight, task, fit, false, space, y);
}

}  // namespace
