"""Several ranks train as one does: the same curve to rounding, every image once, nobody left waiting."""

import ipaddress
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from msgspec import structs
from support.waiting import PATIENCE_S

from linftui.build import build_dataset, build_net
from linftui.checkpoint import find_checkpoint, restore_model
from linftui.cores import usable_cores
from linftui.data.images import images_for_means
from linftui.launch.control import stop_run
from linftui.launch.plan import LaunchPlan
from linftui.launch.prepare import create_run
from linftui.launch.supervisor import Supervisor
from linftui.recipe.load import load_recipe
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import latest_by_step, read_all, read_record
from linftui.rundir.records import EvalRecord, ExitRecord, Metric, StateRecord, TrainRecord
from linftui.rundir.store import RunStore
from linftui.train.distributed import any_rank, in_parallel, is_first, own_part, process_group, summed
from linftui.train.evaluate import evaluate

CPU = torch.device("cpu")
ONE, TWO = (LaunchPlan(devices=("cpu",) * ranks, threads=1) for ranks in (1, 2))

# 1,337 images: the last of 11 batches has 57, so that parts differ; p goes from 8 through infinity.
RECIPE = """\
name: ranks
epochs: 5
batch_size: 128
data: {dataset: digits, holdout: 100, augment: {crop_padding: 1}}
model: {width: 16, depth: 3}
eps: {train: 0.3, test: 0.1}
p: {begin_epoch: 0.5, end_epoch: 4.5}
objective:
  lam: {start: 0.1, end: 0.001}
evaluation: {reestimate_means: true, batch_size: 5}
log: {every_steps: 1}
"""
# 9 batches, of which the last has one image: nothing is left of it for the second rank.
ODD = ["batch_size=167", "epochs=6", "p.end_epoch=5.5"]
STEPS, ON_THE_WAY = 55, 15  # the last step, and one in the second epoch


def watch(supervisor: Supervisor, enough: Callable[[], object]) -> ExitRecord | None:
    """Supervises an attempt until something is true, or to its end."""
    deadline = time.monotonic() + PATIENCE_S
    while not enough() and (ended := supervisor.poll(0.02)) is None:
        assert time.monotonic() < deadline, "waited in vain"
    return None if enough() else ended


def finish(supervisor: Supervisor) -> ExitRecord:
    """Waits for the attempt's end."""
    ended = watch(supervisor, lambda: False)
    assert ended is not None
    return ended


def create(folder: Path, plan: LaunchPlan, overrides: list[str]) -> RunPaths:
    recipe = folder / "ranks.yaml"
    recipe.write_text(RECIPE)
    return create_run(RunStore(folder), load_recipe(recipe, overrides), plan, f"run-{plan.ranks}")


def trained(folder: Path, plan: LaunchPlan, overrides: list[str]) -> RunPaths:
    paths = create(folder, plan, overrides)
    assert finish(Supervisor(paths, plan)).outcome == "finished"
    return paths


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if usable_cores() < 2:
        pytest.skip("two ranks need two cores")
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def together(store: Path) -> RunPaths:
    """A run of two ranks that nobody disturbed. Do not write to it."""
    return trained(store, TWO, [])


def losses(paths: RunPaths) -> list[TrainRecord]:
    return [record for record in read_all(paths) if isinstance(record, TrainRecord)]


def counts(paths: RunPaths) -> dict[tuple[int, str, str], tuple[int, int]]:
    """How many images each evaluation found right, and certified."""
    return {
        (r.step, r.split, r.means): (round(r.clean_accuracy * r.n), round(r.certified_accuracy * r.n))
        for r in read_all(paths)
        if isinstance(r, EvalRecord)
    }


def adam(paths: RunPaths) -> list[float]:
    """The size of each moment of each parameter, and the counts of steps."""
    checkpoint, _ = find_checkpoint(paths, "latest", CPU)
    return [value.double().norm().item() for _, value in sorted(checkpoint.optimizer.items())]


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [[], pytest.param(ODD, marks=pytest.mark.thorough)],
    ids=["parts that differ by one", "a part without an image"],
)
def test_two_ranks_give_the_curve_of_one(store: Path, together: RunPaths, overrides: list[str]) -> None:
    folder = store / f"with {len(overrides)} overrides"
    folder.mkdir()
    one = trained(folder, ONE, overrides)
    two = trained(folder, TWO, overrides) if overrides else together

    alone, shared = losses(one), losses(two)
    steps = list(range(1, len(alone) + 1))
    assert [record.step for record in alone] == [record.step for record in shared] == steps
    assert len(alone) >= 50 and alone[0].p == 8.0 and alone[-1].p == math.inf
    for a, b in zip(alone, shared, strict=True):
        assert math.isclose(a.loss, b.loss, rel_tol=1e-6), a.step
    # Adam does not mind the scale of its gradients, so that the loss would not tell of a wrong one. What is 0
    # but for rounding (behind a mean shift the weights of whole neurons have no effect) is not compared.
    for moments, others in zip(adam(one), adam(two), strict=True):
        assert math.isclose(moments, others, rel_tol=0.05, abs_tol=1e-6)
    # The weights are equal but for rounding, so an image on the edge may fall to the other side.
    before, after = counts(one), counts(two)
    assert before.keys() == after.keys() and len(after) == 3 * alone[-1].epoch
    for key, figures in after.items():
        assert all(abs(n - m) <= 5 for n, m in zip(figures, before[key], strict=True)), key


@pytest.mark.slow
def test_two_ranks_count_as_one_does_with_the_same_weights(together: RunPaths) -> None:
    recipe = load_recipe(together.recipe, []).recipe
    dataset = build_dataset(recipe, CPU)
    model = build_net(recipe, dataset, CPU)
    checkpoint, _ = find_checkpoint(together, "latest", CPU)
    restore_model(model, checkpoint)
    assert dataset.holdout is not None
    reestimated = model.with_reestimated_means(images_for_means(dataset.train), dataset.levels)
    for split, means, net in (
        ("test", "running", model),
        ("test", "re-estimated", reestimated),
        ("holdout", "running", model),
    ):
        images = dataset.test if split == "test" else dataset.holdout
        alone = evaluate(net, images, recipe.eps.test, dataset.levels, 25, lambda: False)
        assert alone is not None
        figures = (round(alone.clean_accuracy * alone.n), round(alone.certified_accuracy * alone.n))
        assert counts(together)[(STEPS, split, means)] == figures


def connections(paths: RunPaths) -> list[tuple[str, str, str]]:
    """The network connections of an attempt's processes: whose, at which local address, in which state."""
    state = read_record(paths.state, StateRecord)
    assert state is not None
    return [
        (member.role, connection.laddr.ip, connection.status)
        for member in state.members
        if member.role != "supervisor"  # it is this very process
        for connection in psutil.Process(member.pid).net_connections("inet")
    ]


@pytest.mark.slow
def test_two_ranks_that_are_stopped_and_resumed_end_bit_identical_and_nobody_outside_is_listened_to(
    together: RunPaths, tmp_path: Path
) -> None:
    paths = create(tmp_path, TWO, [])
    supervisor = Supervisor(paths, TWO)
    assert watch(supervisor, lambda: len(losses(paths)) >= ON_THE_WAY) is None
    found = connections(paths)
    assert {role for role, _, status in found if status == "LISTEN"} == {"rank-0", "rank-1"}
    assert all(ipaddress.ip_address(address).is_loopback for _, address, _ in found), found
    stop_run(paths, "me")
    assert finish(supervisor).outcome == "stopped"
    assert ON_THE_WAY <= losses(paths)[-1].step < STEPS

    assert finish(Supervisor(paths, TWO)).outcome == "finished"
    first, second = together.checkpoint(STEPS), paths.checkpoint(STEPS)
    assert second.model.read_bytes() == first.model.read_bytes()
    assert second.optimizer.read_bytes() == first.optimizer.read_bytes()
    assert curve(paths) == curve(together)
    assert {record.attempt for record in read_all(paths)} == {1, 2}


def curve(paths: RunPaths) -> list[Metric]:
    """What a person sees of a run, without times, speeds, and who did it."""
    return [
        structs.replace(record, attempt=0, time=0.0, images_per_s=0.0)
        if isinstance(record, TrainRecord)
        else structs.replace(record, attempt=0, time=0.0, seconds=0.0)
        for record in latest_by_step(read_all(paths))
    ]


def on_two_ranks(program: str, folder: Path) -> list[Any]:
    """Runs a program once a rank, both in one group, and returns what each prints as JSON."""
    begin = "import json, os, sys, pathlib, torch\ntorch.set_num_threads(1)\n"
    begin += "from linftui.train.distributed import *\nfolder = pathlib.Path(sys.argv[1])\n"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", begin + program, str(folder)],
            env={**TWO.environment(), "RANK": str(rank), "WORLD_SIZE": "2"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=PATIENCE_S) for process in processes]
    assert all(output for output, _ in outputs), outputs
    return [json.loads(output) for output, _ in outputs]


@pytest.mark.slow
def test_ranks_agree_and_share_out_a_batch_without_padding_or_repeating(tmp_path: Path) -> None:
    program = """
with process_group(folder, "cpu") as device:
    first = is_first()
    parts = [own_part(torch.arange(n)).tolist() for n in (5, 4, 1)]
    total = summed(torch.tensor([1.0, 10.0]) * (1 if first else 2)).tolist()
    said = [any_rank(False), any_rank(first), any_rank(not first), any_rank(True)]
    meet()
    print(json.dumps([str(device), first, parts, total, said]))
"""
    said = [False, True, True, True]
    assert on_two_ranks(program, tmp_path) == [
        ["cpu", True, [[0, 1, 2], [0, 1], [0]], [3.0, 30.0], said],
        ["cpu", False, [[3, 4], [2, 3], []], [3.0, 30.0], said],
    ]


def test_one_rank_asks_nobody() -> None:
    with process_group(None, "cpu") as device:
        assert device == CPU and is_first()
        assert own_part(torch.arange(3)).tolist() == [0, 1, 2]
        assert summed(torch.tensor(2.0)) == 2.0
        assert any_rank(True) and not any_rank(False)
        network = torch.nn.Linear(1, 1)
        assert in_parallel(network) is network


GRADIENTS = """
from linftui.nn.models import DistanceMLP
from linftui.nn.ranks import world_size
from linftui.nn import Moment
from linftui.train.objectives import Batch, MixtureLoss
from linftui.train.step import LossNet
def gradients(rows):
    sizes = {"in_shape": (1, 4, 4), "classes": 5, "width": 7, "depth": 3}
    net = DistanceMLP(**sizes, identity=10.0, mean=(0.5,), std=0.5, seed=1)
    module = in_parallel(LossNet(net, MixtureLoss(0.05)))
    pixels = torch.linspace(0, 9, rows * 16).sin().abs().view(rows, 1, 4, 4)
    labels = torch.arange(rows) * 3 % 5
    batch = Batch(own_part(pixels), own_part(labels), rows)
    loss, _ = module(batch, Moment(p=8.0, eps=0.1, lam=0.1))
    (loss * world_size()).backward()
    means = [value.tolist() for name, value in net.named_buffers() if "running" in name]
    return [parameter.grad.flatten().tolist() for parameter in module.parameters()] + means
"""


@pytest.mark.slow
def test_gradients_and_running_means_are_those_of_the_whole_batch_on_each_rank(tmp_path: Path) -> None:
    program = (
        GRADIENTS
        + """
with process_group(folder, "cpu"):
    print(json.dumps([gradients(rows) for rows in (8, 5, 1)]))
"""
    )
    alone: dict[str, Any] = {"torch": torch, "in_parallel": in_parallel, "own_part": own_part}
    exec(GRADIENTS, alone)
    for told in on_two_ranks(program, tmp_path):
        for rows, got in zip((8, 5, 1), told, strict=True):
            for values, expected in zip(got, alone["gradients"](rows), strict=True):
                torch.testing.assert_close(torch.tensor(values), torch.tensor(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_who_loses_the_other_rank_says_so_and_every_other_failure_stays_what_it_is(tmp_path: Path) -> None:
    program = """
try:
    with process_group(folder, "cpu"):
        first = is_first()
        if not first:
            print(json.dumps("gone"), flush=True)
            os._exit(0)
        meet()
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""
    lost, gone = on_two_ranks(program, tmp_path)
    assert gone == "gone"
    assert lost == ["RankLostError", "the connection to another rank was lost; see its log"]

    program = """
try:
    with process_group(folder, "cpu"):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""
    folder = tmp_path / "other"
    folder.mkdir()
    own = ["RuntimeError", "mat1 and mat2 shapes cannot be multiplied"]
    assert on_two_ranks(program, folder) == [own, own]
