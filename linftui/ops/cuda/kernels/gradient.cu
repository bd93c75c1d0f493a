// The gradients of the p-norm distance over every element: sign(d) (|d| / y)^(p - 1) times the output's
// gradient, added over m for x and over n for weight.
//
// POWER: whole p by multiplications, as d^(p - 1) times the packed grad / y^(p - 1), or, if pack.cu found a
// distance for which that is unsafe, from the ratio |d| / y. Otherwise any p: of each four outputs two through
// the special-function units and two through the polynomial (see powers.cuh).
#include <columns.cuh>

#ifdef POWER
// d * |d|^(POWER - 2) without the last factor d, for POWER >= 2.
DEVICE float lesser_power(float d) {
    float d2 = d * d;
    if (POWER == 3) return fabsf(d);
    if (POWER == 4) return d2;
    if (POWER == 5) return d2 * fabsf(d);
    if (POWER == 6) return d2 * d2;
    if (POWER == 7) return d2 * d2 * fabsf(d);
    return 1;
}

struct Quotients {
    static constexpr int FLOATS = 4;

    DEVICE explicit Quotients(const float*) {}

    template <bool>
    DEVICE void add(float& to_x, float& to_weight, float d, float quotient, float) const {
        float power, rest = d * quotient;
        if (POWER == 8) {  // shared so that the eighth power costs seven instructions in all
            float d2 = d * d;
            power = d2 * d2, rest *= d2;
        } else {
            power = lesser_power(d);
        }
        if (POWER == 1) power = d > 0 ? 1 : d < 0 ? -1 : 0, rest = quotient;
        to_x = fmaf(power, rest, to_x);
        to_weight = fmaf(power, rest, to_weight);
    }
};

struct Ratios {
    static constexpr int FLOATS = 8;

    DEVICE explicit Ratios(const float*) {}

    template <bool>
    DEVICE void add(float& to_x, float& to_weight, float d, float inverse, float grad) const {
        float r = saturated_fma(fabsf(d), inverse, 0.0f), power = r;
        if (POWER == 1) power = d != 0 ? 1 : 0;
        if (POWER == 8) power = r * (r * r);
        if (POWER > 2 && POWER < 8) power = lesser_power(r);
        float rest = along(grad, d);
        if (POWER > 2 && POWER < 8) rest *= r;
        if (POWER == 8) rest *= (r * r) * (r * r);
        to_x = fmaf(power, rest, to_x);
        to_weight = fmaf(power, rest, to_weight);
    }
};
#else
struct Scaled {
    static constexpr int FLOATS = 8;
    Exponent exponent;

    DEVICE explicit Scaled(const float* numbers) : exponent(numbers + BACKWARD) {}

    template <bool SPECIAL>
    DEVICE void add(float& to_x, float& to_weight, float d, float inverse, float grad) const {
        float power, rest = along(grad, d);
#ifdef SQUARINGS
        if (!SPECIAL) {
            power = exponent.root(d, inverse);
            rest *= power;
        } else
#endif
            power = exponent.special(saturated_fma(fabsf(d), inverse, 0.0f));
        to_x = fmaf(power, rest, to_x);
        to_weight = fmaf(power, rest, to_weight);
    }
};
#endif

// One step: the thread's rows against four outputs.
template <class Term>
DEVICE void add_step(const Term& term, float (&to_x)[ROWS], float (&to_weight)[STEP], const float (&x)[ROWS],
                     const float (&weight)[STEP], const float* entries) {
    UNROLL for (int i = 0; i < ROWS; i++) {
        float4 first = four(entries + i * Term::FLOATS), second{};
        if (Term::FLOATS == 8) second = four(entries + i * Term::FLOATS + 4);
        term.template add<true>(to_x[i], to_weight[0], x[i] - weight[0], first.x, second.x);
        term.template add<false>(to_x[i], to_weight[1], x[i] - weight[1], first.y, second.y);
        term.template add<true>(to_x[i], to_weight[2], x[i] - weight[2], first.z, second.z);
        term.template add<false>(to_x[i], to_weight[3], x[i] - weight[3], first.w, second.w);
    }
}

template <class Term>
DEVICE void walk(const Term& term, const Problem& problem, const float* x, const float* weight,
                 const float* packed, float* grad_x, float* grad_weight) {
    constexpr int STAGE = BLOCK_ROWS * Term::FLOATS;
    float *memory = shared_memory(), *sums = memory + 2 * STAGE;
    NO_UNROLL for (int first_row = 0; first_row < problem.n; first_row += BLOCK_ROWS) {
        int own_row = first_row + problem.warp * ROWS;
        float own_x[ROWS], to_x[ROWS] = {}, weights[STEP];
        UNROLL for (int i = 0; i < ROWS; i++) own_x[i] = problem.x_at(x, own_row + i);
        problem.weights_at(weights, weight, problem.begin);
        load_entries<Term::FLOATS>(memory, packed, problem, problem.begin, first_row);
        int stage = 0;
        NO_UNROLL for (int step = problem.begin; step < problem.end; step++, stage ^= 1) {
            copies_wait();
            __syncthreads();  // these entries and the sums of the step before are there
            float to_weight[STEP] = {}, next_weights[STEP];
            if (step + 1 < problem.end)
                load_entries<Term::FLOATS>(memory + (stage ^ 1) * STAGE, packed, problem, step + 1, first_row);
            problem.weights_at(next_weights, weight, step + 1);
            if (step > problem.begin) problem.add_up(grad_weight, sums + (stage ^ 1) * SUMS, step - 1, !first_row);
            add_step(term, to_x, to_weight, own_x, weights,
                     memory + stage * STAGE + problem.warp * ROWS * Term::FLOATS);
            problem.leave(sums + stage * SUMS, to_weight);
            UNROLL for (int j = 0; j < STEP; j++) weights[j] = next_weights[j];
        }
        __syncthreads();
        problem.add_up(grad_weight, sums + (stage ^ 1) * SUMS, problem.end - 1, !first_row);
        __syncthreads();
        float* to = grad_x + static_cast<long long>(blockIdx.y) * problem.n * problem.k + problem.column;
        UNROLL for (int i = 0; i < ROWS; i++)
            if (problem.inside && own_row + i < problem.n) to[static_cast<long long>(own_row + i) * problem.k] = to_x[i];
    }
}

// grid: columns in 32s, splits of m. grad_x: [split, n, k]; the host adds the splits.
KERNEL(THREADS, 16 / WARPS)
gradient(const float* x, const float* weight, const float* numbers, const float* quotients, const float* pairs,
         const int* unusual, float* grad_x, float* grad_weight, int n, int m, int k, int padded_n,
         int steps_a_split) {
    Problem problem(n, m, k, padded_n, steps_a_split);
#ifdef POWER
    if (!*unusual)
        walk(Quotients(numbers), problem, x, weight, quotients, grad_x, grad_weight);
    else
        walk(Ratios(numbers), problem, x, weight, pairs, grad_x, grad_weight);
#else
    walk(Scaled(numbers), problem, x, weight, pairs, grad_x, grad_weight);
#endif
}
