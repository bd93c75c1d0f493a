"""Leaving out terms of a gradient that cannot matter: the curve is what it is with every term."""

from collections.abc import Callable

import pytest

from linftui.ops import backend_name
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_all
from linftui.rundir.records import TrainRecord


@pytest.mark.slow
@pytest.mark.skipif(backend_name() == "reference", reason="no compiled kernels here")
def test_the_curve_is_that_with_every_term(
    train_slice: Callable[..., RunPaths], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of it at p from 300 to 1000, where terms are dropped."""
    recipe = "epochs=30", "p.begin_epoch=0", "p.start=300", "p.end_epoch=29", "model.width=64"
    kept = train_slice("with what is dropped", *recipe)
    monkeypatch.setattr("linftui.ops.cpu.kernels.drop_below", lambda q: None)
    whole = train_slice("with every term", *recipe)
    pairs = [
        (ours, theirs)
        for ours, theirs in zip(read_all(kept), read_all(whole), strict=True)
        if isinstance(ours, TrainRecord) and isinstance(theirs, TrainRecord)
    ]
    assert len(pairs) == 60 and pairs[-1][0].loss < 0.9 * pairs[0][0].loss
    assert any(ours.loss != theirs.loss for ours, theirs in pairs)  # or nothing was left out
    for ours, theirs in pairs:
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
