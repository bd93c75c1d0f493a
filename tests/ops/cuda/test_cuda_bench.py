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
from linftui.bench.rivals import Rival, compiled_broadcast, load_rival
from linftui.errors import DeviceError, UsageError
from linftui.ops import reference
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
def test_it_runs_and_every_operation_has_a_row(
    host: HostLauncher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def once(work: Callable[[], object], repeats: int) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    monkeypatch.setattr(cuda_ops, "seconds", once)
    monkeypatch.setattr(cuda_ops, "BATCH", 3)
    monkeypatch.setattr(cuda_ops, "LAYERS", [(4, 5), (2, 4)])
    monkeypatch.setattr(cuda_ops, "POWERS", [8.0, 37.3, 300.0])
    rates = {"FADD + FMNMX": 1e12, "LG2 + EX2": 1e11, "issue (FFMA)": 2e12}
    monkeypatch.setattr(
        cuda_ops, "measure_limits", lambda *_: {name: Row(name, 1, rate) for name, rate in rates.items()}
    )
    monkeypatch.setattr(cuda_ops, "compiled_broadcast", lambda: Rival("twin", torch.cdist, powers=(8.0,)))
    cpu, size = torch.device("cpu"), (3, 4, 5)
    theirs = load_rival(rival_file(tmp_path))
    rows = list(cuda_ops.measure(cpu, [size], 1, lambda _: None, [theirs]))
    assert all(row.seconds > 0 for row in rows)
    names = [row.name.split(" [")[0] for row in rows]
    assert names[:3] == list(rates) and names[3:9] == [
        "inf forward", "inf forward + argmax", "inf backward", "inf forward + backward", "bounds",
        "p = 8 forward",
    ]  # fmt: skip
    assert names[17:22] == [
        *(f"net, forward + backward, p = {p}" for p in ("8", "37.3", "300", "inf")), "1300 epochs of it"
    ]  # fmt: skip
    kinds = ("forward", "backward", "forward + backward")
    assert names[22:] == [
        *(f"rival, p = {p} {kind}" for p in ("8", "37.3", "300", "inf") for kind in kinds),
        *(f"torch.cdist, p = {p} forward" for p in ("8", "37.3", "inf")), "twin, p = 8 forward",
    ]  # fmt: skip
    found = dict(zip(names, rows, strict=True))
    for row in rows[3:17] + rows[22:]:
        assert row.rate == pytest.approx(3 * 4 * 5 / row.seconds) and row.share is not None
    assert found["inf forward"].share == pytest.approx(found["inf forward"].rate / 1e12)
    assert found["p = 8 forward"].share == pytest.approx(found["p = 8 forward"].rate / 0.5e12)
    # Both at their limits take 4 + 7 issues an element.
    both = found["p = 8 forward + backward"]
    assert both.share == pytest.approx(both.rate / (2e12 / 11))
    assert both.seconds == pytest.approx(found["p = 8 forward"].seconds + found["p = 8 backward"].seconds)
    inf = found["inf forward + backward"]  # the backward is to cost nothing
    assert inf.share == pytest.approx(60 / inf.seconds / 1e12)
    assert len(host.launches) > 40


def rival_file(folder: Path) -> Path:
    """A rival that anyone may write: here, the definition."""
    file = folder / "rival.py"
    file.write_text("""
import math
from linftui.ops import reference

forward = reference.norm_dist_forward

def backward(grad, x, weight, y, p):
    if math.isinf(p):
        return reference.inf_dist_backward(grad, x, weight, reference.inf_dist_argmax(x, weight)[1])
    return reference.norm_dist_backward(grad, x, weight, y, p)
""")
    return file


def test_a_rival_is_a_file_with_a_forward(tmp_path: Path) -> None:
    x, weight = torch.randn(3, 5), torch.randn(4, 5)
    rival = load_rival(rival_file(tmp_path))
    assert rival.name == "rival" and rival.backward is not None
    assert torch.equal(rival.forward(x, weight, 37.3), reference.norm_dist_forward(x, weight, 37.3))
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "broken.py").write_text("1 / 0")
    for name, sentence in (
        ("nothing.py", "is not a Python file"),
        ("empty.py", "has no forward"),
        ("broken.py", r"cannot be imported \(ZeroDivisionError: division by zero\)"),
    ):
        with pytest.raises(UsageError, match=sentence):
            load_rival(tmp_path / name)


@pytest.mark.thorough  # compiling takes half a minute
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of itself
def test_what_a_user_would_compile_is_right() -> None:
    x, weight = torch.randn(33, 50), torch.randn(20, 50)
    rival = compiled_broadcast()
    for p in (8.0, 37.3, math.inf):
        y = rival.forward(x, weight, p)
        assert torch.allclose(y, reference.norm_dist_forward(x, weight, p), rtol=1e-5)


@pytest.mark.parametrize("name", cuda_ops.LIMITS)
def test_the_limits_compile(name: str) -> None:
    pytest.importorskip("cuda.core", reason="no cuda-core here: pip install 'linftui[cuda]'")
    code, report = compile_kernel(cuda_ops.LIMITS[name][0], "sm_90")
    assert code[:4] == b"\x7fELF" and "0 bytes spill stores" in report
