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

// Over packed vectors, for weight rows `first` and after: max of L - w and w - U, and min of the same.
inline __attribute__((always_inline)) void bounds_tile(const Packed& tile, int first, V4* most, V4* least) {
  V high[TM_BOUNDS][TN], low[TM_BOUNDS][TN];
  for (int m = 0; m < TM_BOUNDS; ++m)
    for (int n = 0; n < TN; ++n) high[m][n] = broadcast(-__builtin_inff()), low[m][n] = -high[m][n];
  const float *x = tile.x, *w = tile.w + first * W;
  for (int64_t v = 0; v < tile.vectors; ++v, x += 2 * TN * W, w += TM * W) {
    V ws[TM_BOUNDS];
#pragma GCC unroll 8
    for (int m = 0; m < TM_BOUNDS; ++m) ws[m] = load(w + m * W);
#pragma GCC unroll 8
    for (int n = 0; n < TN; ++n) {
      const V lower = load(x + n * W), upper = load(x + (TN + n) * W);
#pragma GCC unroll 8
      for (int m = 0; m < TM_BOUNDS; ++m) {
        const V above = lower - ws[m], below = ws[m] - upper;
        high[m][n] = maximum(maximum(high[m][n], above), below);
        low[m][n] = minimum(minimum(low[m][n], above), below);
      }
    }
  }
  for (int m = 0; m < TM_BOUNDS; ++m) {
    most[m] = fold_four<Max>(high[m][0], high[m][1], high[m][2], high[m][3]);
    least[m] = fold_four<Min>(low[m][0], low[m][1], low[m][2], low[m][3]);
  }
}

struct BoundsSpace {
  Packing packing;
  PerTile<V4> most, least;
};

// Returns 1 where a row of the task holds a NaN or an infinity; the bounds are then of no use.
inline int bounds_task(const Matrix& lower, const Matrix& upper, const Matrix& weight, const Task& task, bool outward,
                       BoundsSpace& space, float* low, float* high) {
  const bool finite = over_tiles<2>({lower, upper}, weight, task, true, space.packing, [&](const Packed& tile) {
    V4 *most_so_far = space.most.of(tile), *least_so_far = space.least.of(tile);
    for (int m = 0; m < TM; m += TM_BOUNDS) {
      V4 more[TM_BOUNDS], less[TM_BOUNDS];
      bounds_tile(tile, m, more, less);
      for (int j = 0; j < TM_BOUNDS; ++j) {
        most_so_far[m + j] = tile.begin > 0 ? Max::of(most_so_far[m + j], more[j]) : more[j];
        least_so_far[m + j] = tile.begin > 0 ? Min::of(least_so_far[m + j], less[j]) : less[j];
      }
    }
  });
  over_outputs(task, [&](int64_t n, int64_t m, const Place& place) {
    const float l = space.most.of(place), h = -space.least.of(place), below = outward ? next_down(l) : l;
    low[n * weight.rows + m] = below > 0 ? below : 0;
    high[n * weight.rows + m] = outward ? next_up(h) : h;
  });
  return !finite;
}

}  // namespace
