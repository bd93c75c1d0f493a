// The gradient at p = inf: each output's goes to one coordinate of a row of x and of weight. A block adds up one
// row in shared memory, WINDOW columns at a time. Every warp owns a range of the columns, reads all outputs of
// the row and takes those that fall there one after the other, so the order of additions is fixed.
#include <intrinsics.cuh>

constexpr int THREADS = 256;
constexpr int WARPS = THREADS / 32;
constexpr int WINDOW = 8192;

// grid: rows of x, or of weight (to_weight). argmax, grad: [rows of x, rows of weight].
KERNEL(THREADS, 4)
scatter_rows(const float* x, const float* weight, const float* grad, const long long* argmax, float* to,
             int to_weight, int n, int m, int k) {
    int outputs = to_weight ? n : m;  // of this row
    float *row_sums = shared_memory(), *flows = row_sums + (k < WINDOW ? k : WINDOW);
    int *columns = reinterpret_cast<int*>(flows + THREADS), row = blockIdx.x, warp = threadIdx.x / 32;
    for (int first = 0; first < k; first += WINDOW) {
        int width = k - first < WINDOW ? k - first : WINDOW, share = (width + WARPS - 1) / WARPS;
        for (int i = threadIdx.x; i < width; i += THREADS) row_sums[i] = 0;
        for (int batch = 0; batch < outputs; batch += THREADS) {
            int output = batch + threadIdx.x, column = -1;
            float flow = 0;
            if (output < outputs) {
                long long x_row = to_weight ? output : row, weight_row = to_weight ? row : output;
                long long at = x_row * m + weight_row;
                column = static_cast<int>(argmax[at]);
                float d = x[x_row * k + column] - weight[weight_row * k + column];
                float upward = d > 0 ? grad[at] : d < 0 ? -grad[at] : 0;
                flow = isinf(d) ? 0 : to_weight ? -upward : upward;
            }
            __syncthreads();  // everyone is done with the batch before
            flows[threadIdx.x] = flow;
            columns[threadIdx.x] = column - first;
            __syncthreads();
            for (int i = 0; i < THREADS; i += 32) {
                int mine = columns[i + threadIdx.x % 32] - warp * share;
                bool here = mine >= 0 && mine < share && mine + warp * share < width;
                for (unsigned left = warp_vote(here); left; left &= left - 1) {
                    int entry = i + first_bit(left);
                    if (threadIdx.x % 32 == 0) row_sums[columns[entry]] += flows[entry];
                }
            }
        }
        __syncthreads();
        for (int i = threadIdx.x; i < width; i += THREADS) to[static_cast<long long>(row) * k + first + i] = row_sums[i];
        __syncthreads();
    }
}
