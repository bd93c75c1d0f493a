"""Real runs: trained, stopped and resumed once, certified on the GPU and on the CPU, image by image the same.

    python scripts/gpu/runs.py digits|paper [--rehearse] FOLDER

The paper's net is trained on MNIST where it was packed: CIFAR-10 is larger than what can be carried.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rows import arguments, conclude, tell

from linftui.data.download import status
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_all
from linftui.rundir.records import EvalRecord, TrainRecord
from linftui.rundir.state import GOING_ON, run_state

PATIENCE_S = 120.0
SHORT = ["--set", "checkpoint.every_epochs=1000", "--set", "log.every_steps=10"]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("what", choices=("digits", "paper"))
    parser.add_argument("folder", type=Path, help="where runs are kept")
    options = parser.parse_args()
    # One thread in a rehearsal: several wait for each other where a machine has other work.
    where = ["--devices", "cpu", "--threads", "1"] if options.rehearse else ["--devices", "gpu:1"]
    paths = RunPaths((options.folder / options.what).absolute())
    shutil.rmtree(paths.root, ignore_errors=True)
    recipe, sets, train_s = (digits if options.what == "digits" else paper)(options.rehearse)

    linftui("run", recipe, "--name", paths.id, *where, *sets, *SHORT, "--detach", folder=paths)
    wait(lambda: trained(paths), "the first step")
    time.sleep(train_s)
    if run_state(paths) in GOING_ON:
        linftui("stop", paths.id, folder=paths)
    wait(lambda: run_state(paths) not in GOING_ON, "the end of the first attempt")
    stopped_at, state = trained(paths)[-1].step, run_state(paths)
    tell("stopped", step=stopped_at, state=state)
    if state != "finished":
        linftui("resume", paths.id, "--detach", folder=paths)
    ends = time.monotonic() + max(train_s, PATIENCE_S * (options.what == "digits"))
    wait(lambda: run_state(paths) not in GOING_ON or time.monotonic() > ends, "the end of the second attempt")
    if run_state(paths) in GOING_ON:
        linftui("stop", paths.id, folder=paths)
        wait(lambda: run_state(paths) not in GOING_ON, "the end of the second attempt")
    tell("ended", step=trained(paths)[-1].step, state=run_state(paths))
    tell_speed(paths)
    tell_devices(paths)
    conclude(compare_certificates(paths, where))


def digits(rehearse: bool) -> tuple[str, list[str], float]:
    """The recipe as it is, faster: it is trained to its end."""
    epochs = 50 if rehearse else 100
    smaller = ["--set", "model.width=32"] if rehearse else []
    chosen = [*sets(epochs, epochs / 10, epochs * 0.9), *smaller]
    return "recipes/digits.yaml", chosen, 0.2 if rehearse else 2.0


def paper(rehearse: bool) -> tuple[str, list[str], float]:
    """The recipe's net, batch and optimizer; p rises from 8 to infinity in few steps."""
    dataset = "mnist" if status("mnist", None).present and not rehearse else "digits"
    epochs = 2 if dataset == "mnist" else 60
    chosen = sets(epochs, epochs / 8, epochs * 0.9)
    others = [f"data.dataset={dataset}", "data.augment.flip=false", "evaluation.every_epochs=1000"]
    if rehearse:
        others += ["model.width=64", "model.depth=3"]
    for value in others:
        chosen += ["--set", value]
    return "recipes/cifar.yaml", chosen, 0.2 if rehearse else 15.0


def sets(epochs: int, begin: float, end: float) -> list[str]:
    values = {"epochs": epochs, "p.begin_epoch": begin, "p.end_epoch": end}
    return [word for name, value in values.items() for word in ("--set", f"{name}={value:g}")]


def linftui(*words: str, folder: RunPaths) -> None:
    """A real command; its own sentence where it fails."""
    where = [] if words[0] == "certify" else ["--runs-dir", str(folder.root.parent)]
    command = [sys.executable, "-m", "linftui", *words, *where]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    print(*words, f"took {time.monotonic() - started:.1f} s", flush=True)
    if done.returncode:
        print(done.stdout, done.stderr, flush=True)
        conclude(f"linftui {words[0]} failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
        raise SystemExit(1)


def wait(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            conclude(f"waited in vain: {what}")
            raise SystemExit(1)
        time.sleep(0.1)


def trained(paths: RunPaths) -> list[TrainRecord]:
    records = read_all(paths) if paths.metrics.exists() else []
    return [record for record in records if isinstance(record, TrainRecord)]


def tell_speed(paths: RunPaths) -> None:
    """Images a second over ranges of p; the first record of an attempt counts its start as well."""
    last_attempt = 0
    speeds: dict[str, list[float]] = {}
    for record in trained(paths):
        if record.attempt == last_attempt:
            speeds.setdefault(range_of(record.p), []).append(record.images_per_s)
        last_attempt = record.attempt
    for p, values in speeds.items():
        tell(f"training at p {p}", images_per_s=statistics.median(values), records=len(values))
    for record in read_all(paths):
        if isinstance(record, EvalRecord):
            tell(
                f"evaluation with {record.means} means",
                step=record.step,
                clean=record.clean_accuracy,
                certified=record.certified_accuracy,
                seconds=record.seconds,
            )


def range_of(p: float) -> str:
    for bound in (8.0, 12.0, 25.0, 50.0, 100.0, 300.0, 1000.0):
        if p <= bound:
            return f"<= {bound:g}"
    return "= inf" if p == float("inf") else "> 1000"


def tell_devices(paths: RunPaths) -> None:
    """What NVML said of the run's GPU, as the dashboard shows it."""
    lines = paths.devices.read_text().splitlines() if paths.devices.exists() else []
    records = [json.loads(line) for line in lines]
    gpus = [gpu for record in records for gpu in record["gpus"]]
    tell(
        "devices.jsonl",
        records=len(records),
        busiest=max((gpu["utilisation"] or 0 for gpu in gpus), default=None),
        most_memory=max((gpu["memory_used"] or 0 for gpu in gpus), default=None),
        problems=sorted({record.get("gpu_problem", "") for record in records} - {""}),
    )


def compare_certificates(paths: RunPaths, where: list[str]) -> str:
    """Certifies where the run was trained and, of a copy, on the CPU."""
    twin = RunPaths(paths.root.with_name(f"{paths.id}-on-cpu"))
    shutil.rmtree(twin.root, ignore_errors=True)
    shutil.copytree(paths.root, twin.root)
    found = []
    for run, devices in ((paths, where), (twin, ["--devices", "cpu"])):
        linftui("certify", str(run.root), *devices, "--limit", "1000", folder=run)
        [folder] = run.certificates.glob("step-*")
        summary = json.loads((folder / "summary.json").read_text())
        tell(
            f"certificate on {devices[1]}",
            backend=summary["backend"],
            n=summary["n"],
            clean=summary["clean_accuracy"],
            certified=summary["certified_accuracy"],
            seconds=summary["seconds"],
        )
        found.append((folder / "samples.jsonl").read_text().splitlines())
    differing = sum(a != b for a, b in zip(*found, strict=True))
    tell("verdicts", images=len(found[0]), differing=differing)
    if differing:
        conclude(f"{differing} of {len(found[0])} verdicts differ from the CPU's")
        raise SystemExit(1)
    last, certified = trained(paths)[-1], summary["certified_accuracy"]
    trained_to = f"step {last.step}, {last.images_per_s:.0f} images/s last, certified {certified:.4f}"
    return f"{trained_to}; all {len(found[0])} verdicts are the CPU's"


if __name__ == "__main__":
    os.environ.pop("LINFTUI_RUNS_DIR", None)
    main()
