"""A net trained by the GPU's kernels, executed on the CPU: the curve is that of the CPU's own."""

from collections.abc import Callable

import pytest
from host_launcher import HostLauncher

from linftui.ops import cuda, registration
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader, read_all
from linftui.rundir.records import TrainRecord
from linftui.train import trainer


@pytest.mark.slow
def test_the_curve_is_that_of_the_cpu(
    train_slice: Callable[..., RunPaths], host: HostLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train_slice("cpu")
    monkeypatch.setattr(registration, "backend_for", lambda x: cuda)
    monkeypatch.setattr(
        trainer, "kernels_at", lambda p, device: cuda.describe(p, cuda.survivors_of(device).read())
    )
    got = train_slice("gpu")
    for ours, theirs in zip(read_all(got), read_all(expected), strict=True):
        if isinstance(ours, TrainRecord):
            assert isinstance(theirs, TrainRecord) and ours.loss == pytest.approx(theirs.loss, rel=1e-5)
        else:
            assert not isinstance(theirs, TrainRecord)
            assert ours.clean_accuracy == pytest.approx(theirs.clean_accuracy, abs=2 / ours.n)
    told = [event.message for event in RunReader(got).events() if event.event == "kernels"]
    assert told[0] == "p 8: forward: whole power 8; backward: whole power 8"
    assert told[-1] == "p inf: forward: argmax; backward: scatter" and len(told) == len(set(told))
    assert {kernel.source for kernel, _, _ in host.launches} >= {"power.cu", "gradient.cu", "argmax.cu"}
