"""Run directories as large as they get in practice, with the same records that training writes."""

import math
import os
import time

from linftui.launch.plan import LaunchPlan
from linftui.launch.prepare import create_run
from linftui.recipe.load import load_recipe
from linftui.rundir.liveness import describe_process, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import EvalRecord, ExitRecord, StateRecord, TrainRecord, encode
from linftui.rundir.store import RunStore
from linftui.rundir.writer import write_record

PLAN = LaunchPlan(devices=("cpu",), threads=2)


def make_run(store: RunStore, name: str, records: int, *, finished: bool) -> RunPaths:
    """A run of the digits recipe with this many training records; an unfinished one is this process's."""
    paths = create_run(store, load_recipe("digits"), PLAN, name)
    now = time.time()
    with paths.metrics.open("wb") as file:
        for n in range(1, records + 1):
            file.write(encode(train_record(n, records, now)) + b"\n")
            if n % max(1, records // 20) == 0:
                file.write(encode(_eval_record(n, records, now)) + b"\n")
    me = describe_process(os.getpid(), "supervisor")
    members = [me] if me and not finished else []
    write_record(
        paths.state,
        StateRecord(
            attempt=1,
            phase="running",
            host=this_host(),
            members=members,
            devices=["cpu"],
            threads=2,
            time=now,
        ),
    )
    if finished:
        write_record(paths.exit, ExitRecord(attempt=1, outcome="finished", code=0, time=now))
    return paths


def train_record(n: int, of: int, now: float) -> TrainRecord:
    """The record of step `n` of a typical run of `of` steps."""
    t = n / of
    loss = 0.25 + math.exp(-5 * t) + 0.02 * math.sin(n)
    return TrainRecord(
        attempt=1, step=n, epoch=100 * t, time=now - of + n, loss=loss,
        accuracy=0.9 * t, certified_at_p=0.8 * t, certified_at_p_train_eps=0.5 * t,
        p=8 * 125**t if t < 0.9 else math.inf, lam=0.1 * 0.01**t, eps=0.3, lr=0.03 * (1 - t), scalar=1.0,
        images_per_s=20000 + 100 * math.sin(n),
    )  # fmt: skip


def _eval_record(n: int, of: int, now: float) -> EvalRecord:
    return EvalRecord(
        attempt=1, step=n, epoch=100 * n / of, time=now - of + n, split="test", n=360,
        clean_accuracy=0.9 * n / of, certified_accuracy=0.8 * n / of, eps=0.1, means="running", seconds=0.1,
    )  # fmt: skip
