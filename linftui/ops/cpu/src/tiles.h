// How the N x M outputs are shared among threads and cut into register tiles.
//
// A task is a block of rows of x against a group of tiles of weight rows. Every output is computed by one thread
// in an order that depends on K alone, so the result is the same whatever the number of threads.
#pragma once

#include <omp.h>

#include "simd.h"

namespace {

constexpr int64_t ROWS_OF_X = 128;     // with K_BLOCK columns: half of a 1 MiB second-level cache
constexpr int64_t TILES_OF_WEIGHT = 16;  // long enough for a block of x to pay for coming from the third level
constexpr int64_t K_BLOCK = 1024;      // TM rows of so many floats stay in a first-level cache of 32 KiB
constexpr int64_t WORTH_A_THREAD = 1 << 15;  // elements; below, waking a thread costs more than it does

struct Matrix {
  const float* data;
  int64_t rows, k;
  const float* row(int64_t i) const { return data + i * k; }
};

struct Task {
  int64_t n0, n1, m0, m1;  // rows of x, rows of weight; m0 is a multiple of TM
};

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

inline int useful_threads(int threads, int64_t elements) {
  const int64_t most = 1 + elements / WORTH_A_THREAD;
  return most < threads ? static_cast<int>(most) : threads;
}

// Does every task and returns the disjunction of what they return.
template <class Work>
inline int for_each_task(const Matrix& x, const Matrix& weight, int threads, Work work) {
  if (x.rows == 0 || weight.rows == 0) return 0;
  const int64_t tiles = ceil_div(weight.rows, TM);
  int64_t groups = ceil_div(tiles, TILES_OF_WEIGHT), blocks = ceil_div(x.rows, ROWS_OF_X);
  threads = useful_threads(threads, x.rows * weight.rows * x.k);
  while (groups < tiles && groups * blocks % threads != 0) ++groups;
  while (blocks < ceil_div(x.rows, TN) && groups * blocks % threads != 0) ++blocks;
  int status = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(| : status)
  for (int64_t i = 0; i < groups * blocks; ++i) {
    const int64_t group = i % groups, block = i / groups, quads = ceil_div(x.rows, TN);
    const Task task = {quads * block / blocks * TN, smaller(quads * (block + 1) / blocks * TN, x.rows),
                       tiles * group / groups * TM, smaller(tiles * (group + 1) / groups * TM, weight.rows)};
    if (task.n0 < task.n1) status |= work(task);
  }
  return status;
}

// `Count` rows from `first` on; past the last row that one is repeated, and its results are not stored.
template <int Count>
struct Rows {
  const float* at[Count];
  Rows(const Matrix& matrix, int64_t first) {
    for (int i = 0; i < Count; ++i) at[i] = matrix.row(smaller(first + i, matrix.rows - 1));
  }
};

// Whether a row holds a NaN or an infinity in [begin, end): multiplied by 0 they alone give NaN.
inline bool any_not_finite(const Matrix& matrix, int64_t row0, int64_t row1, int64_t begin, int64_t end) {
  V sum = {};
  for (int64_t row = row0; row < row1; ++row) {
    const float* values = matrix.row(row);
    int64_t k = begin;
    for (; k + W <= end; k += W) sum += load(values + k) * 0.0f;
    if (k < end) sum += load_part(values + k, static_cast<int>(end - k), 0) * 0.0f;
  }
  return equal(sum, sum) != (1u << W) - 1;
}

// Calls step(loader, k) over [begin, end), where loader(pointer) gives the vector at k. The lanes past the end hold
// zeros, or repeat the first of the last part, which changes no maximum and no minimum.
template <bool Repeat, class Step>
inline __attribute__((always_inline)) void over_columns(int64_t begin, int64_t end, Step step) {
  int64_t k = begin;
  for (; k + W <= end; k += W) step([k](const float* row) { return load(row + k); });
  if (k < end) {
    const int n = static_cast<int>(end - k);
    step([k, n](const float* row) { return load_part(row + k, n, Repeat ? row[k] : 0); });
  }
}

}  // namespace
