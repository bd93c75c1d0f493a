"""A training step of the paper's net, split: our kernels, optimizer, other torch, copies, idle; its memory.

The images are random and have CIFAR-10's shape: what a step costs does not depend on what they show, except
for how many terms pruning keeps, which `runs.py` sees on real ones.
"""

import re
import tempfile
import time
from pathlib import Path

import torch
from rows import arguments, conclude, tell

from linftui.data.images import Dataset, ImageSet
from linftui.ops.cuda.catalogue import every_kernel
from linftui.recipe.data import Inputs
from linftui.recipe.load import load_recipe, resolved
from linftui.rundir.liveness import folder_identity, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import StateRecord
from linftui.rundir.writer import write_record
from linftui.train.trainer import Trainer

STEPS_AN_EPOCH = 20
WARM_UP, PROFILED = 5, 10
OURS = {kernel.entry for kernel in every_kernel()}
KINDS = [
    ("copies", re.compile("memcpy|memset", re.IGNORECASE)),
    ("optimizer", re.compile("adam|multi_tensor", re.IGNORECASE)),
]


class Profile:
    """A trainer's `should_stop`, which is asked between steps: profiles some of them, then says stop."""

    def __init__(self, first: int, on_gpu: bool) -> None:
        self.first, self.on_gpu, self.asked = first, on_gpu, 0
        activity = torch.profiler.ProfilerActivity
        self.profiler = torch.profiler.profile(activities=[activity.CUDA if on_gpu else activity.CPU])
        self.started = self.seconds = 0.0

    def __call__(self) -> bool:
        self.asked += 1
        if self.asked == self.first:
            self._synchronize()
            self.profiler.start()
            self.started = time.perf_counter()
        if self.asked == self.first + PROFILED:
            self._synchronize()
            self.seconds = time.perf_counter() - self.started
            self.profiler.stop()
        return self.asked >= self.first + PROFILED

    def _synchronize(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()


def main() -> None:
    rehearse = arguments(__doc__).parse_args().rehearse
    on_gpu = torch.cuda.is_available()
    if not on_gpu and not rehearse:
        conclude(f"torch {torch.__version__} sees no GPU")
        raise SystemExit(1)
    device = torch.device("cuda" if on_gpu else "cpu")
    dataset = random_images(device)
    told = []
    # p = inf is reached at the end of the first epoch.
    for name, start, begin, end, first in (
        ("p = 8", 8.0, 1000, 1001, WARM_UP),
        ("p = 37.3", 37.3, 1000, 1001, WARM_UP),
        ("p = 300", 300.0, 1000, 1001, WARM_UP),
        ("p = inf", 100.0, 0, 1, STEPS_AN_EPOCH + WARM_UP),
    ):
        told.append(f"{name}: {measure(name, start, begin, end, first, dataset, rehearse):.1f} ms")
        conclude("; ".join(told))


def measure(
    name: str, start: float, begin: float, end: float, first: int, dataset: Dataset, rehearse: bool
) -> float:
    """Tells how a step at this p is split; returns its milliseconds."""
    device = dataset.train.images.device
    overrides = [f"p.start={start}", f"p.begin_epoch={begin}", f"p.end_epoch={end}"]
    if rehearse:
        overrides += ["model.width=32", "model.depth=3"]
    recipe = load_recipe(Path("recipes/cifar.yaml"), overrides).recipe
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        paths = RunPaths(Path(folder) / "step")
        paths.checkpoints.mkdir(parents=True)
        state = StateRecord(
            attempt=1, phase="running", host=this_host(), members=[], devices=[str(device)], threads=1,
            time=time.time(), folder=folder_identity(paths.root),
        )  # fmt: skip
        write_record(paths.state, state)  # whose attempt it is, which the trainer looks for
        profile = Profile(first, on_gpu)
        trainer = Trainer(resolved(recipe), dataset, paths, attempt=1, should_stop=profile)
        weights = sum(parameter.nbytes for parameter in trainer.net.parameters())
        began = time.perf_counter()
        trainer.fit()
        whole = time.perf_counter() - began
    step_ms = profile.seconds / PROFILED * 1e3
    split = split_of(profile, step_ms) if on_gpu else {}
    tell(name, step_ms=step_ms, split_ms=split, with_start_and_checkpoint_s=whole)
    if on_gpu:
        peak = torch.cuda.max_memory_allocated()
        tell(f"{name}, memory", peak_bytes=peak, weights_bytes=weights, times_the_weights=peak / weights)
    return step_ms


def split_of(profile: Profile, step_ms: float) -> dict[str, float]:
    """Milliseconds a step of each kind of work, and of each kernel of ours."""
    split: dict[str, float] = {"ours": 0.0}
    for event in profile.profiler.key_averages():
        ms = event.self_device_time_total / 1e3 / PROFILED
        entry = next((entry for entry in OURS if entry in event.key), None)
        kind = "ours" if entry else next((kind for kind, words in KINDS if words.search(event.key)), "torch")
        split[kind] = split.get(kind, 0.0) + ms
        if entry:
            split[f"ours: {entry}"] = split.get(f"ours: {entry}", 0.0) + ms
    busy = sum(ms for kind, ms in split.items() if ":" not in kind)
    return {**split, "idle (Python, data, logging)": step_ms - busy}


def random_images(device: torch.device) -> Dataset:
    """As many as an epoch needs."""
    n = STEPS_AN_EPOCH * 512
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (n,), generator=generator)
    train = ImageSet(images.to(device), labels.to(device), torch.arange(n, device=device))
    test = train.subset(torch.arange(512, device=device))
    inputs = Inputs(shape=(3, 32, 32), classes=10, mean=(0.5, 0.5, 0.5), std=0.25)
    return Dataset("random", train, test, None, 255, inputs, "")


if __name__ == "__main__":
    main()
