"""Sums over ranks and their gradients, in real processes, against autograd of the whole batch on one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from linftui.nn.ranks import mean_over_ranks, world_size

PATIENCE_S = 120.0

# Each rank takes its part of the same batch; the loss of the whole is the sum of what the ranks compute.
PROGRAM = """
import json, sys, torch, torch.distributed as dist
from linftui.nn.ranks import mean_over_ranks, world_size
rank, ranks, rows, store = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
whole = torch.linspace(-2, 3, rows * 3, dtype=torch.float64).sin().view(rows, 3)
part = whole.tensor_split(ranks)[rank].clone().requires_grad_()
mean = mean_over_ranks(part, torch.full((3,), 7.0, dtype=torch.float64))
loss = ((part - mean) ** 3 * torch.tensor([1.0, 2.0, -3.0])).sum()
loss.backward()
print(json.dumps({"ranks": world_size(), "mean": mean.tolist(), "gradient": part.grad.tolist()}))
dist.destroy_process_group()
"""


def on_ranks(ranks: int, program: str, *arguments: object) -> list[Any]:
    """Runs a program once a rank, all at the same time, and returns what each prints as JSON."""
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(rank), str(ranks), *map(str, arguments)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(ranks)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=PATIENCE_S) for process in processes]
    assert [process.returncode for process in processes] == [0] * ranks, outputs
    return [json.loads(output) for output, _ in outputs]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "rows"),
    [
        pytest.param(2, 8, marks=pytest.mark.thorough),
        (2, 7),
        (3, 2),
        pytest.param(2, 1, marks=pytest.mark.thorough),
    ],
    ids=["equal parts", "parts that differ", "a rank without an image", "one image for two ranks"],
)
def test_the_mean_and_its_gradient_are_those_of_the_whole_batch(
    tmp_path: Path, ranks: int, rows: int
) -> None:
    whole = torch.linspace(-2, 3, rows * 3, dtype=torch.float64).sin().view(rows, 3).requires_grad_()
    mean = whole.mean(0)
    ((whole - mean) ** 3 * torch.tensor([1.0, 2.0, -3.0])).sum().backward()
    assert whole.grad is not None

    told = on_ranks(ranks, PROGRAM, rows, tmp_path / "store")
    assert [answer["ranks"] for answer in told] == [ranks] * ranks
    for answer in told:
        torch.testing.assert_close(torch.tensor(answer["mean"], dtype=torch.float64), mean)
        assert answer["mean"] == told[0]["mean"]
    gradient = [row for answer in told for row in answer["gradient"]]
    torch.testing.assert_close(torch.tensor(gradient, dtype=torch.float64), whole.grad)


@pytest.mark.slow
def test_a_batch_without_an_image_on_any_rank_has_the_mean_that_is_given_for_it(tmp_path: Path) -> None:
    for answer in on_ranks(2, PROGRAM, 0, tmp_path / "store"):
        assert answer == {"ranks": 2, "mean": [7.0] * 3, "gradient": []}


def test_without_a_process_group_there_is_one_rank() -> None:
    x = torch.arange(6.0).view(2, 3).requires_grad_()
    assert world_size() == 1
    mean = mean_over_ranks(x, torch.zeros(3))
    assert torch.equal(mean, torch.tensor([1.5, 2.5, 3.5]))
    mean.sum().backward()
    assert torch.equal(x.grad, torch.full((2, 3), 0.5))
