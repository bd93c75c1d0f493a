// What the backward needs of every output, computed once and laid out as its blocks read it: four neighbouring
// outputs m of one row n together, rows n next to each other. Rows are padded to whole blocks, m to fours, with
// entries that contribute nothing.
#include <powers.cuh>

constexpr int PACK_THREADS = 256;

struct Cell {
    int row, column, slot;
    long long entry;   // index of the group of four
    bool there, inside;
};

// Thread t packs output `column` of row `row` into slot `slot` of its group.
DEVICE Cell cell_of_thread(int n, int m, int padded_n) {
    int groups = (m + 3) / 4;
    long long t = static_cast<long long>(blockIdx.x) * PACK_THREADS + threadIdx.x;
    long long group = t / 4 % groups, row = t / 4 / groups;
    int column = static_cast<int>(t % 4 + group * 4);
    return {static_cast<int>(row), column, static_cast<int>(t % 4), group * padded_n + row,
            row < padded_n, row < n && column < m};
}

// An output's gradient, and 1 / y: both 0 where the distance is 0 or infinite, NaN where it is NaN.
struct Flow {
    float inverse, grad;
    bool flat;
};

DEVICE Flow flow_of(const float* y, const float* grad, Cell cell, int m) {
    if (!cell.inside) return {0, 0, true};
    long long output = static_cast<long long>(cell.row) * m + cell.column;
    float distance = y[output];
    if (distance != distance) return {0, distance, false};
    bool flat = distance == 0 || isinf(distance);
    return {flat ? 0 : 1 / scale_of(distance), flat ? 0 : grad[output], flat};
}

// pairs: [group, row, (1/y of four, gradient of four)].
DEVICE void pack_pair(float* pairs, Cell cell, Flow flow) {
    pairs[cell.entry * 8 + cell.slot] = flow.inverse;
    pairs[cell.entry * 8 + 4 + cell.slot] = flow.grad;
}

KERNEL(PACK_THREADS, 4)
pack_pairs(const float* y, const float* grad, float* pairs, int n, int m, int padded_n) {
    Cell cell = cell_of_thread(n, m, padded_n);
    if (cell.there) pack_pair(pairs, cell, flow_of(y, grad, cell, m));
}

// For whole p also grad / y^(p - 1) in one number. `unusual` becomes 1 if some distance is so small or so large
// that this number or a power of a difference could leave float32: the pairs are then used.
KERNEL(PACK_THREADS, 4)
pack_whole(const float* y, const float* grad, const float* numbers, float* quotients, float* pairs, int* unusual,
           int n, int m, int padded_n) {
    Cell cell = cell_of_thread(n, m, padded_n);
    if (!cell.there) return;
    Flow flow = flow_of(y, grad, cell, m);
    pack_pair(pairs, cell, flow);
    float quotient = flow.grad;
    for (int power = 1; power < numbers[0]; power++) quotient *= flow.inverse;
    quotients[cell.entry * 4 + cell.slot] = quotient;
    bool usual = flow.inverse > 0x1p-10f && flow.inverse < 0x1p10f;
    bool zero = flow.flat && (!cell.inside || y[static_cast<long long>(cell.row) * m + cell.column] == 0);
    if (!usual && !zero) *unusual = 1;
}

// The difference at which a term of the gradient is as small as `floor`, with the sign of the output's gradient:
// a term is then floor * (|d| / threshold)^(p - 1), and what lies below contributes less than floor. `floor` is
// 1e-13, under a thousandth of Adam's eps, and at most 2^-40 of the largest gradient.
KERNEL(PACK_THREADS, 4)
pack_thresholds(const float* y, const float* grad, const float* numbers, const float* largest_grad,
                float* thresholds, float* floor, int n, int m, int padded_n) {
    Cell cell = cell_of_thread(n, m, padded_n);
    if (!cell.there) return;
    float least = fmaxf(fminf(1e-13f, *largest_grad * 0x1p-40f), 0x1p-120f);
    if (blockIdx.x == 0 && threadIdx.x == 0) *floor = least;
    Flow flow = flow_of(y, grad, cell, m);
    float threshold = bits_float(0x7f800000u);
    if (cell.inside && !flow.flat) {
        float distance = y[static_cast<long long>(cell.row) * m + cell.column];
        if (flow.grad != 0) {
            threshold = distance * exp2f(log2f(least / fabsf(flow.grad)) / numbers[BACKWARD]);
            threshold = bits_float(float_bits(threshold) | (float_bits(flow.grad) & 0x80000000u));
        }
    }
    thresholds[cell.entry * 4 + cell.slot] = threshold;
}
