"""The GPU benchmark, as far as it can be checked without one: its arithmetic, its kernels, that it runs."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from host_launcher import HostLauncher

from linftui.bench import cuda_ops
from linftui.bench.cuda_ops import POWERS, Row, schedule_seconds, table
from linftui.errors import DeviceError
from linftui.ops.cuda.catalogue import Kernel
from linftui.ops.cuda.compiler import compile_kernel


def test_the_schedule_of_a_constant_step_is_its_length() -> None:
    net = {p: 0.5 for p in (*POWERS, math.inf)}
    assert schedule_seconds(net) == pytest.approx(0.5 * 1300 * 98)


def test_the_schedule_weighs_p_by_its_logarithm() -> None:
    """A cost only between 100 and 1000 counts for the ramp's share there, half of it in the span before."""
    net = {p: 1.0 if p >= 100 else 0.0 for p in POWERS} | {math.inf: 0.0}
    ramp = 1150 / math.log(1000 / 8)
    expected = ramp * (math.log(10) + math.log(2) / 2)
    assert schedule_seconds(net) == pytest.approx(98 * expected)


def test_the_elements_are_those_of_the_paper() -> None:
    elements = sum(cuda_ops.BATCH * m * k for m, k in cuda_ops.LAYERS)
    assert elements == pytest.approx(6.18e10, rel=1e-3)


def test_the_table_shows_the_share_of_the_limit() -> None:
    text = table([Row("limit: x", 0.001, 2e12), Row("op", 0.002, 1e12, "x", 0.5)])
    assert "1.000    2.000" in text and "2.000    1.000       50%  x" in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    with pytest.raises(DeviceError, match="sees no GPU; measure the CPU: --device cpu"):
        cuda_ops.this_gpu()


@pytest.mark.slow
def test_it_runs_and_every_operation_has_a_row(host: HostLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    def once(work: Callable[[], object], repeats: int) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    monkeypatch.setattr(cuda_ops, "seconds", once)
    monkeypatch.setattr(cuda_ops, "BATCH", 3)
    monkeypatch.setattr(cuda_ops, "LAYERS", [(4, 5), (2, 4)])
    monkeypatch.setattr(cuda_ops, "POWERS", [8.0, 37.3, 300.0])
    rates = {"FADD + FMNMX": 1e12, "LG2 + EX2": 1e11, "issue (FFMA)": 2e12}
    cpu = torch.device("cpu")
    monkeypatch.setattr(
        cuda_ops, "measure_limits", lambda *_: {name: Row(name, 1, rate) for name, rate in rates.items()}
    )
    every = cuda_ops.measure(cpu, [(3, 4, 5)], 1, lambda _: None)
    assert [row.name for row in every[-5:]] == [
        *(f"net, forward + backward, p = {p}" for p in ("8", "37.3", "300", "inf")), "1300 epochs of it"
    ]  # fmt: skip
    assert all(row.seconds > 0 for row in every)
    rows = every[3:-5]
    names = [row.name.split(" [")[0] for row in rows]
    assert names[:5] == ["inf forward", "inf forward + argmax", "inf backward", "bounds", "p = 8 forward"]
    assert names[-3:] == [f"torch.cdist, p = {p}" for p in ("8", "37.3", "inf")] and len(rows) == 13
    for row in rows:
        assert row.rate == pytest.approx(3 * 4 * 5 / row.seconds) and row.share is not None
    assert rows[0].share == pytest.approx(rows[0].rate / 1e12)
    assert rows[4].share == pytest.approx(rows[4].rate / 0.5e12)
    assert len(host.launches) > 40


@pytest.mark.parametrize("entry", ["limit_fold", "limit_half", "limit_special", "limit_issue"])
def test_the_limits_compile(entry: str) -> None:
    pytest.importorskip("cuda.core", reason="no cuda-core here: pip install 'linftui[cuda]'")
    source = Path(cuda_ops.__file__).parent / "kernels" / "limits.cu"
    code, report = compile_kernel(Kernel(str(source), entry), "sm_90")
    assert code[:4] == b"\x7fELF" and "0 bytes spill stores" in report
