// The distance at p = inf: maxima of absolute differences, and where they are attained first.
//
// No rounding follows the subtraction, so every order of taking the maximum gives the same bits.
#pragma once

#include "tiles.h"

namespace {

constexpr int64_t SEARCHED = 256;  // columns: a maximum is known to lie in one block of so many

struct InfSpace {
  Packing packing;
  PerTile<V4> largest;
  PerTile<I4> block;
};

// Maxima of |x - w| over packed vectors: of each weight row against the TN rows of x.
inline __attribute__((always_inline)) void abs_max_tile(const float* x, const float* w, int64_t vectors, V4* largest) {
  V acc[TM][TN] = {};
  for (int64_t v = 0; v < vectors; ++v, x += TN * W, w += TM * W) {
    V xs[TN];
#pragma GCC unroll 8
    for (int n = 0; n < TN; ++n) xs[n] = load(x + n * W);
#pragma GCC unroll 8
    for (int m = 0; m < TM; ++m) {
      const V ws = load(w + m * W);
#pragma GCC unroll 8
      for (int n = 0; n < TN; ++n) acc[m][n] = abs_max(acc[m][n], xs[n] - ws);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < TM; ++m) largest[m] = fold_four<Max>(acc[m][0], acc[m][1], acc[m][2], acc[m][3]);
}

// Maxima over all columns. Returns whether all entries were finite; the maxima are of no use otherwise.
inline bool largest_differences(const Matrix& x, const Matrix& weight, const Task& task, Packing& packing,
                                PerTile<V4>& largest) {
  return over_tiles<1>({x}, weight, task, true, packing, [&](const Packed& tile) {
    V4 here[TM], *so_far = largest.of(tile);
    abs_max_tile(tile.x, tile.w, tile.vectors, here);
    for (int m = 0; m < TM; ++m) so_far[m] = tile.begin > 0 ? Max::of(so_far[m], here[m]) : here[m];
  });
}

// y[n, m] of a task. Returns 1 where a row holds a NaN or an infinity; y is then of no use.
inline int inf_forward_task(const Matrix& x, const Matrix& weight, const Task& task, InfSpace& space, float* y) {
  const bool finite = largest_differences(x, weight, task, space.packing, space.largest);
  over_outputs(task,
               [&](int64_t n, int64_t m, const Place& place) { y[n * weight.rows + m] = space.largest.of(place); });
  return !finite;
}

// The first column in [begin, end) where |x - w| is `largest`; there is one.
inline int64_t first_attained(const float* x, const float* w, int64_t begin, int64_t end, float largest) {
  const V wanted = broadcast(largest);
  for (int64_t k = begin; k < end; k += W) {
    const V d = load_first(end - k, x + k, x[k]) - load_first(end - k, w + k, w[k]);
    const uint32_t here = equal(absolute(d), wanted);
    if (here != 0) return k + __builtin_ctz(here);
  }
  return end;
}

// As inf_forward_task, and the first column that attains each maximum: the maxima of short blocks are compared in
// order, then the block that won is searched.
inline int inf_argmax_task(const Matrix& x, const Matrix& weight, const Task& task, InfSpace& space, float* y,
                           int64_t* argmax) {
  const bool finite = over_tiles<1>({x}, weight, task, true, space.packing, [&](const Packed& tile) {
    V4* most = space.largest.of(tile);
    I4* where = space.block.of(tile);
    for (int64_t v = 0; v < tile.vectors; v += SEARCHED / W) {
      V4 here[TM];
      abs_max_tile(tile.x + v * TN * W, tile.w + v * TM * W, smaller(SEARCHED / W, tile.vectors - v), here);
      const I4 begin = I4{} + static_cast<int32_t>(tile.begin + v * W);
      for (int m = 0; m < TM; ++m) {
        const I4 more = tile.begin + v > 0 ? here[m] > most[m] : I4{} - 1;
        most[m] = (V4)((more & (I4)here[m]) | (~more & (I4)most[m]));
        where[m] = (more & begin) | (~more & where[m]);
      }
    }
  });
  over_outputs(task, [&](int64_t n, int64_t m, const Place& place) {
    const float value = space.largest.of(place);
    const int64_t begin = space.block.of(place);
    y[n * weight.rows + m] = value;
    argmax[n * weight.rows + m] =
        first_attained(x.row(n), weight.row(m), begin, smaller(begin + SEARCHED, x.k), value);
  });
  return !finite;
}

// What flows through the one coordinate of (n, m): none where the distance is 0 or not finite.
inline float inf_flow(float grad, float x, float w) {
  const float d = x - w;
  if (!(d - d == 0)) return 0;
  return d > 0 ? grad : d < 0 ? -grad : 0 * grad;
}

// Gradients in the order of the definition: along a row of grad for x, along a column for weight. Few rows of weight
// are looked at at a time, for those of a large layer do not fit into a cache.
inline void inf_backward(const Matrix& x, const Matrix& weight, const float* grad, const int64_t* argmax,
                         float* grad_x, float* grad_weight, int threads) {
  constexpr int64_t AT_ONCE = 16;  // columns of grad: one line of the cache
  const int64_t N = x.rows, M = weight.rows, K = x.k;
  threads = useful_threads(threads, N * M * 8);
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static) nowait
    for (int64_t part = 0; part < threads; ++part) {
      const int64_t begin = N * part / threads, end = N * (part + 1) / threads;
      memset(grad_x + begin * K, 0, sizeof(float) * static_cast<size_t>((end - begin) * K));
      for (int64_t first = 0; first < M; first += AT_ONCE)
        for (int64_t n = begin; n < end; ++n)
          for (int64_t m = first; m < smaller(first + AT_ONCE, M); ++m) {
            const int64_t k = argmax[n * M + m];
            grad_x[n * K + k] += inf_flow(grad[n * M + m], x.row(n)[k], weight.row(m)[k]);
          }
    }
#pragma omp for schedule(static)
    for (int64_t first = 0; first < M; first += AT_ONCE) {
      const int64_t last = smaller(first + AT_ONCE, M);
      memset(grad_weight + first * K, 0, sizeof(float) * static_cast<size_t>((last - first) * K));
      for (int64_t n = 0; n < N; ++n)
        for (int64_t m = first; m < last; ++m) {
          const int64_t k = argmax[n * M + m];
          grad_weight[m * K + k] -= inf_flow(grad[n * M + m], x.row(n)[k], weight.row(m)[k]);
        }
    }
  }
}

}  // namespace
