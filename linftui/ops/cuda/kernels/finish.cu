// The last step of every forward: adds up or compares the splits of K in order, takes the root, and computes
// again, a warp an output and without any shortcut, what the fast kernels declined by leaving NaN or a sum out
// of range: rows with NaN or infinities, distances whose powers leave float32.
#include <powers.cuh>

constexpr int FINISH_THREADS = 256;
constexpr int ARGMAX_SLAB = 16;  // coordinates for which argmax.cu left one number

struct Pair {
    long long output;
    bool there;
};

DEVICE Pair pair_of_thread(int n, int m) {
    long long output = static_cast<long long>(blockIdx.x) * FINISH_THREADS + threadIdx.x;
    return {output, output < static_cast<long long>(n) * m};
}

// Has the whole warp call `careful(output)` for each of its outputs that is not right yet.
template <class Careful>
DEVICE void repair(bool wrong, long long output, Careful careful) {
    long long first = output - threadIdx.x % 32;
    for (unsigned left = warp_vote(wrong); left; left &= left - 1) careful(first + first_bit(left));
}

// The larger of two; NaN, once there, stays.
DEVICE float larger(float a, float b) { return b > a || b != b ? b : a; }

// sum^(1/p); exactly rounded where that is simple and where the root forgives little.
DEVICE float root(float sum, float p, float inverse_p) {
    return p == 1 ? sum : p == 2 ? sqrtf(sum) : powf(sum, inverse_p);
}

template <class Term>
DEVICE float warp_maximum(int k, float least, Term term) {
    NO_UNROLL for (int i = threadIdx.x % 32; i < k; i += 32) least = larger(least, term(i));
    NO_UNROLL for (int lanes = 16; lanes; lanes /= 2) least = larger(least, warp_shuffle(least, lanes));
    return least;
}

DEVICE float careful_maximum(const float* x, const float* weight, int k) {
    return warp_maximum(k, 0.0f, [=](int i) { return fabsf(x[i] - weight[i]); });
}

DEVICE float careful_norm(const float* x, const float* weight, int k, float p, float inverse_p) {
    float largest = careful_maximum(x, weight, k);
    if (!(largest > 0) || isinf(largest)) return largest;
    float sum = 0;
    NO_UNROLL for (int i = threadIdx.x % 32; i < k; i += 32) sum += powf(fabsf(x[i] - weight[i]) / largest, p);
    NO_UNROLL for (int lanes = 16; lanes; lanes /= 2) sum += warp_shuffle(sum, lanes);
    return largest * root(sum, p, inverse_p);
}

// The first coordinate at which |d| is `largest` (or NaN, if that is what it is).
DEVICE int first_at(const float* x, const float* weight, int k, float largest) {
    int first = k;
    NO_UNROLL for (int i = threadIdx.x % 32; i < k && first == k; i += 32) {
        float d = fabsf(x[i] - weight[i]);
        if (d == largest || (d != d && largest != largest)) first = i;
    }
    NO_UNROLL for (int lanes = 16; lanes; lanes /= 2) {
        int other = warp_shuffle(first, lanes);
        first = other < first ? other : first;
    }
    return first;
}

DEVICE float next_up(float v) {
    unsigned bits = float_bits(v);
    if (v != v || v == bits_float(0x7f800000u)) return v;
    if (v == 0) return bits_float(1);
    return bits_float(v > 0 ? bits + 1 : bits - 1);
}

DEVICE float next_down(float v) { return -next_up(-v); }

KERNEL(FINISH_THREADS, 4)
finish_maxima(const float* x, const float* weight, const float* partial, float* y, int n, int m, int k,
              int splits) {
    auto [output, there] = pair_of_thread(n, m);
    long long outputs = static_cast<long long>(n) * m;
    float value = 0;
    if (there) {
        NO_UNROLL for (int split = 0; split < splits; split++) value = larger(value, partial[split * outputs + output]);
        y[output] = value;
    }
    repair(there && value != value, output, [=](long long o) { y[o] = careful_maximum(x + o / m * k, weight + o % m * k, k); });
}

KERNEL(FINISH_THREADS, 4)
finish_argmax(const float* x, const float* weight, const float* partial, const int* partial_slab, float* y,
              long long* index, int n, int m, int k, int splits) {
    auto [output, there] = pair_of_thread(n, m);
    long long outputs = static_cast<long long>(n) * m;
    float value = 0;
    if (there) {
        int slab = 0;  // where every difference is 0, the first attains the maximum
        NO_UNROLL for (int split = 0; split < splits; split++) {
            float other = partial[split * outputs + output];
            if (other > value) slab = partial_slab[split * outputs + output];
            value = larger(value, other);
        }
        const float *row = x + output / m * k, *column = weight + output % m * k;
        int at = slab * ARGMAX_SLAB;
        NO_UNROLL while (at < k - 1 && fabsf(row[at] - column[at]) < value) at++;
        y[output] = value;
        index[output] = at;
    }
    repair(there && value != value, output, [=](long long o) {
        const float *row = x + o / m * k, *column = weight + o % m * k;
        y[o] = careful_maximum(row, column, k);
        index[o] = first_at(row, column, k, y[o]);
    });
}

KERNEL(FINISH_THREADS, 4)
finish_bounds(const float* lower, const float* upper, const float* weight, const float* partial, float* low,
              float* high, int n, int m, int k, int splits, int outward) {
    auto [output, there] = pair_of_thread(n, m);
    long long outputs = static_cast<long long>(n) * m;
    auto store = [=](long long o, float below, float above) {
        float least = outward ? next_down(below) : below;
        low[o] = least < 0 ? 0 : least;
        high[o] = outward ? next_up(above) : above;
    };
    float below = 0, above = 0;
    if (there) {
        NO_UNROLL for (int split = 0; split < splits; split++) {
            below = larger(below, partial[2 * split * outputs + output]);
            above = larger(above, partial[(2 * split + 1) * outputs + output]);
        }
        store(output, below, above);
    }
    repair(there && above + below != above + below, output, [=](long long o) {
        const float *l = lower + o / m * k, *u = upper + o / m * k, *w = weight + o % m * k;
        float least = -bits_float(0x7f800000u);
        float from = warp_maximum(k, least, [=](int i) { return larger(l[i] - w[i], w[i] - u[i]); });
        float to = warp_maximum(k, least, [=](int i) { return larger(u[i] - w[i], w[i] - l[i]); });
        store(o, from, to);
    });
}

// Sums of whole powers without a scale. Below `least`, terms that underflowed could matter.
KERNEL(FINISH_THREADS, 4)
finish_whole_power(const float* x, const float* weight, const float* numbers, const float* partial, float* y,
                   int n, int m, int k, int splits) {
    auto [output, there] = pair_of_thread(n, m);
    long long outputs = static_cast<long long>(n) * m;
    float p = numbers[0], inverse_p = numbers[1], sum = 0, least = k * 0x1p-100f;
    if (there) {
        NO_UNROLL for (int split = 0; split < splits; split++) sum += partial[split * outputs + output];
        y[output] = root(sum, p, inverse_p);
    }
    repair(there && !(sum >= least && sum < bits_float(0x7f800000u)), output, [=](long long o) {
        y[o] = careful_norm(x + o / m * k, weight + o % m * k, k, p, inverse_p);
    });
}

// The distance from the largest difference and a sum of powers in its units; once more where such a unit leaves
// float32, or is NaN.
DEVICE void store_scaled(const float* x, const float* weight, float* y, Pair pair, float scale, float sum, int m,
                         int k, float p, float inverse_p) {
    if (pair.there) y[pair.output] = isinf(scale) || scale == 0 ? scale : scale * root(sum, p, inverse_p);
    repair(pair.there && scale != 0 && !(scale >= scale_of(scale)), pair.output, [=](long long o) {
        y[o] = careful_norm(x + o / m * k, weight + o % m * k, k, p, inverse_p);
    });
}

// Sums scaled by the largest difference, which `largest` holds; y may be the same array.
KERNEL(FINISH_THREADS, 4)
finish_scaled(const float* x, const float* weight, const float* numbers, const float* largest,
              const float* partial, float* y, int n, int m, int k, int splits) {
    Pair pair = pair_of_thread(n, m);
    long long outputs = static_cast<long long>(n) * m;
    float scale = 0, sum = 0;
    if (pair.there) {
        scale = largest[pair.output];
        NO_UNROLL for (int split = 0; split < splits; split++) sum += partial[split * outputs + pair.output];
    }
    store_scaled(x, weight, y, pair, scale, sum, m, k, numbers[0], numbers[1]);
}

// Splits that each have their own largest difference and a sum in its units.
KERNEL(FINISH_THREADS, 4)
finish_pruned(const float* x, const float* weight, const float* numbers, const float* partial,
              const float* partial_sum, float* y, int n, int m, int k, int splits) {
    Pair pair = pair_of_thread(n, m);
    long long outputs = static_cast<long long>(n) * m;
    float p = numbers[0], scale = 0, sum = 0;
    if (pair.there) {
        NO_UNROLL for (int split = 0; split < splits; split++)
            scale = larger(scale, partial[split * outputs + pair.output]);
        NO_UNROLL for (int split = 0; split < splits; split++)
            sum += partial_sum[split * outputs + pair.output] * powf(partial[split * outputs + pair.output] / scale, p);
    }
    store_scaled(x, weight, y, pair, scale, sum, m, k, p, numbers[1]);
}
