"""One call of every operation on the GPU, for tools that watch kernels: small, or --large to profile."""

import math
import sys

import torch

from linftui.ops import cuda

# Rows that start at multiples of 16 bytes or do not; one block of rows in the backward, or several.
SMALL = [(70, 90, 130), (300, 70, 132)]
LARGE = [(512, 5120, 5120)]


def main() -> None:
    for n, m, k in LARGE if "--large" in sys.argv else SMALL:
        x, weight, grad = (torch.randn(shape, device="cuda") for shape in ((n, k), (m, k), (n, m)))
        _, argmax = cuda.inf_dist_argmax(x, weight)
        cuda.inf_dist_backward(grad, x, weight, argmax)
        cuda.inf_dist_bounds(x, x + 1, weight, True)
        cuda.norm_dist_forward(x, weight, math.inf)
        for p in (1.5, 3.0, 8.0, 12.5, 37.3, 300.0):
            y = cuda.norm_dist_forward(x, weight, p)
            cuda.norm_dist_backward(grad / n, x, weight, y, p)
    torch.cuda.synchronize()
    print("every operation ran")


if __name__ == "__main__":
    main()
