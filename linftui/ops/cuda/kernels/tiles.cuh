// Rows of x and weight in shared memory, SLAB coordinates at a time, double buffered. All forward kernels
// share this geometry: 256 threads, of which 8 neighbours in a warp own 8 neighbouring rows of weight.
//
// A row of a slab takes 20 floats: 8 rows read as float4 then fall on 8 different quarters of the banks, and
// every row starts at a multiple of 16 bytes. What lies beyond N, M or K is zero on both sides, so its
// difference is 0, which changes no maximum of absolutes and no sum of powers.
//
// The loop over slabs stands in every kernel: handed to a template, it made scan.cu spill registers on sm_100.
#pragma once
#include <intrinsics.cuh>

constexpr int THREADS = 256;
constexpr int SLAB = 16;    // coordinates a slab
constexpr int PITCH = 20;   // floats a row of a slab takes in shared memory

// ROWS_ALIGNED: every row of the inputs starts at a multiple of 16 bytes.
#ifndef ROWS_ALIGNED
#define ROWS_ALIGNED 1
#endif

struct Rows {
    const float* data;
    int first, count;  // the first row of the block's tile, and how many rows the matrix has
};

// Starts the copy of coordinates k0 .. k0 + 15 of ROWS rows.
template <int ROWS>
DEVICE void load_rows(float* slab, Rows rows, int k, int k0) {
    static_assert(ROWS * (SLAB / 4) % THREADS == 0, "every thread copies the same number of quarters");
    int column = threadIdx.x % (SLAB / 4) * 4, at = k0 + column, left = k - at;
    UNROLL for (int i = 0; i < ROWS * (SLAB / 4) / THREADS; i++) {
        int row = threadIdx.x / (SLAB / 4) + i * (THREADS / (SLAB / 4));
        bool there = rows.first + row < rows.count && left > 0;
        const float* from = rows.data + (there ? static_cast<long long>(rows.first + row) * k + at : 0);
        float* to = slab + row * PITCH + column;
#if ROWS_ALIGNED
        copy_async_16(to, from, there ? 16 : 0);  // K is a multiple of 4 here
#else
        UNROLL for (int j = 0; j < 4; j++) {
            bool inside = there && j < left;
            copy_async_4(to + j, inside ? from + j : rows.data, inside ? 4 : 0);
        }
#endif
    }
}

// A stage of shared memory: the slab of the tile's rows of x, then that of its rows of weight.
template <int ROWS_X, int ROWS_WEIGHT>
DEVICE void load_stage(float* stage, Rows x, Rows weight, int k, int k0) {
    load_rows<ROWS_X>(stage, x, k, k0);
    load_rows<ROWS_WEIGHT>(stage + ROWS_X * PITCH, weight, k, k0);
    copies_commit();
}

DEVICE float4 four(const float* address) { return *reinterpret_cast<const float4*>(address); }

// Where a thread stands in a tile: it owns rows y, y + 16, .. of x and rows x, x + 16, .. of weight.
struct Place {
    int x, y;
};

DEVICE Place place() {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    return {lane % 8 + warp % 2 * 8, lane / 8 + warp / 2 * 4};
}

// The share of the coordinates that block z of a split K covers: [begin, end), begin a multiple of SLAB.
struct Share {
    int begin, end;
};

DEVICE Share share_of(int k, int slabs_a_split) {
    int begin = blockIdx.z * slabs_a_split * SLAB, end = begin + slabs_a_split * SLAB;
    return {begin, end < k ? end : k};
}

// 0, or NaN once a coordinate of the row was NaN or infinite: 0 * v says so without a branch.
DEVICE float poison_of(const float* row, float poison) {
    UNROLL for (int i = 0; i < SLAB; i += 4) {
        float4 v = four(row + i);
        poison = fmaf(v.x, 0.0f, poison);
        poison = fmaf(v.y, 0.0f, poison);
        poison = fmaf(v.z, 0.0f, poison);
        poison = fmaf(v.w, 0.0f, poison);
    }
    return poison;
}
