"""One call of every operation on the GPU, for tools that watch kernels: small, or --large to profile."""

import math
import sys

import torch

from linftui.ops import cuda


def main() -> None:
    n, m, k = (512, 5120, 5120) if "--large" in sys.argv else (70, 90, 130)
    x, weight, grad = (torch.randn(shape, device="cuda") for shape in ((n, k), (m, k), (n, m)))
    _, argmax = cuda.inf_dist_argmax(x, weight)
    cuda.inf_dist_backward(grad, x, weight, argmax)
    cuda.inf_dist_bounds(x, x + 1, weight, True)
    cuda.norm_dist_forward(x, weight, math.inf)
    for p in (8.0, 12.5, 37.3, 300.0):
        y = cuda.norm_dist_forward(x, weight, p)
        cuda.norm_dist_backward(grad / n, x, weight, y, p)
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
