// How the N x M outputs are shared among threads and cut into register tiles.
//
// A task is a block of rows of x against a group of tiles of weight rows. Every output is computed by one thread
// in an order that depends on K alone, so the result is the same whatever the number of threads.
#pragma once

#include <cstdlib>

#include "simd.h"

namespace {

constexpr int64_t ROWS_OF_X = 128, TILES_OF_WEIGHT = 96 / TM;  // of a task, at most
constexpr int64_t K_BLOCK = 512;  // columns at once: TN + TM packed rows stay in a first-level cache of 32 KiB
constexpr int64_t WORTH_A_THREAD = 1 << 15;  // elements; below, waking a thread costs more than it does

struct Matrix {
  const float* data;
  int64_t rows, k;
  const float* row(int64_t i) const { return data + i * k; }
};

struct Task {
  int64_t n0, n1, m0, m1;  // rows of x, rows of weight; n0 and m0 are multiples of TN and TM
};

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

inline int useful_threads(int threads, int64_t elements) {
  const int64_t most = 1 + elements / WORTH_A_THREAD;
  return most < threads ? static_cast<int>(most) : threads;
}

// What a thread needs while it works, on the heap, for the stack of a thread may be small; null where memory is out.
template <class Space>
struct OnHeap {
  Space* const at = static_cast<Space*>(aligned_alloc(64, (sizeof(Space) + 63) / 64 * 64));
  ~OnHeap() { free(at); }
};

// Does every task, in a Space of the thread, and returns the disjunction of what they return, 1 without memory.
template <class Space, class Work>
inline int for_each_task(const Matrix& x, const Matrix& weight, int threads, Work work) {
  if (x.rows == 0 || weight.rows == 0) return 0;
  const int64_t tiles = ceil_div(weight.rows, TM);
  int64_t groups = ceil_div(tiles, TILES_OF_WEIGHT), blocks = ceil_div(x.rows, ROWS_OF_X);
  threads = useful_threads(threads, x.rows * weight.rows * x.k);
  while (groups < tiles && groups * blocks % threads != 0) ++groups;
  while (blocks < ceil_div(x.rows, TN) && groups * blocks % threads != 0) ++blocks;
  int status = 0;
#pragma omp parallel num_threads(threads) reduction(| : status)
  {
    const OnHeap<Space> space;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < groups * blocks; ++i) {
      const int64_t group = i % groups, block = i / groups, quads = ceil_div(x.rows, TN);
      const Task task = {quads * block / blocks * TN, smaller(quads * (block + 1) / blocks * TN, x.rows),
                         tiles * group / groups * TM, smaller(tiles * (group + 1) / groups * TM, weight.rows)};
      if (task.n0 < task.n1) status |= space.at == nullptr ? 1 : work(task, *space.at);
    }
  }
  return status;
}

// Copies columns [begin, end) of rows to `to`, vector by vector: to[vector][row][lane]. Rows of a power of two of
// bytes would otherwise fight for the same few places of the cache. The lanes past the end hold zeros, or repeat
// one before, which changes no maximum. `spoilt` becomes NaN where a NaN or an infinity is met: times 0 they alone
// are not 0.
template <int Count>
inline void pack(const float* const (&rows)[Count], int64_t begin, int64_t end, bool repeat, float* to, V& spoilt) {
  for (int64_t k = begin; k < end; k += W)
    for (int i = 0; i < Count; ++i, to += W) {
      const float* from = rows[i] + k;
      const V v = load_first(end - k, from, repeat ? *from : 0);
      spoilt = multiply_add(v, V{}, spoilt);
      store(to, v);
    }
}

// The tiles of x and the one of weight that are at hand, as `pack` leaves them.
struct Packing {
  alignas(64) float x[ROWS_OF_X / TN][K_BLOCK * TN], w[K_BLOCK * TM];
};

// A tile that is at hand: its place in the task, and columns [begin, begin + W * vectors) of its rows as `pack` leaves
// them; x has TN rows of each source.
struct Packed {
  int64_t m_tile, n_tile, begin, vectors;
  const float *x, *w;
};

// Calls use(packed) for every tile of a task and every block of columns, the blocks in order. Past the last row that
// one is repeated, and what comes of it is not to be stored. Returns whether all entries were finite.
template <int Sources, class Use>
inline bool over_tiles(const Matrix (&x)[Sources], const Matrix& weight, const Task& task, bool repeat,
                       Packing& packing, Use use) {
  constexpr int64_t COLUMNS = K_BLOCK / Sources;
  const int64_t n_tiles = ceil_div(task.n1 - task.n0, TN), m_tiles = ceil_div(task.m1 - task.m0, TM);
  V spoilt = {};
  for (int64_t begin = 0; begin < weight.k; begin += COLUMNS) {
    const int64_t end = smaller(begin + COLUMNS, weight.k);
    for (int64_t tile = 0; tile < n_tiles; ++tile) {
      const float* rows[Sources * TN];
      for (int i = 0; i < Sources * TN; ++i)
        rows[i] = x[i / TN].row(smaller(task.n0 + tile * TN + i % TN, x[0].rows - 1));
      pack(rows, begin, end, repeat, packing.x[tile], spoilt);
    }
    for (int64_t tile = 0; tile < m_tiles; ++tile) {
      const float* rows[TM];
      for (int i = 0; i < TM; ++i) rows[i] = weight.row(smaller(task.m0 + tile * TM + i, weight.rows - 1));
      pack(rows, begin, end, repeat, packing.w, spoilt);
      for (int64_t n_tile = 0; n_tile < n_tiles; ++n_tile)
        use(Packed{tile, n_tile, begin, ceil_div(end - begin, W), packing.x[n_tile], packing.w});
    }
  }
  return equal(spoilt, spoilt) == (1u << W) - 1;
}

// Where an output of a task lies among its tiles.
struct Place {
  int64_t m_tile, n_tile;
  int m, n;
};

// A number for each output of a task, tile by tile; outputs that do not exist have places too.
template <class Four>
struct PerTile {
  Four at[TILES_OF_WEIGHT][ROWS_OF_X / TN][TM];

  Four* of(const Packed& tile) { return at[tile.m_tile][tile.n_tile]; }
  auto of(const Place& place) const { return at[place.m_tile][place.n_tile][place.m][place.n]; }
};

// Calls use(n, m, place) for every output of a task, tile by tile: few rows of weight stay in the cache meanwhile.
template <class Use>
inline void over_outputs(const Task& task, Use use) {
  for (int64_t m_tile = 0; task.m0 + m_tile * TM < task.m1; ++m_tile)
    for (int64_t n_tile = 0; task.n0 + n_tile * TN < task.n1; ++n_tile) {
      const int64_t first_n = task.n0 + n_tile * TN, first_m = task.m0 + m_tile * TM;
      for (int n = 0; n < smaller(TN, task.n1 - first_n); ++n)
        for (int m = 0; m < smaller(TM, task.m1 - first_m); ++m)
          use(first_n + n, first_m + m, Place{m_tile, n_tile, m, n});
    }
}

}  // namespace
