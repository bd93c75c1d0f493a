"""Verdicts on real digits, what may not change them, attacks on them, and the conditions they rest on."""

import copy
import math
import platform
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from linftui.certify.certifier import certify_batch
from linftui.certify.conditions import check_arithmetic, check_net
from linftui.certify.subject import Subject
from linftui.errors import CertificationError
from linftui.nn import AT_INFINITY, DistanceMLP, IntervalBounds, Moment
from linftui.nn.boxes import pixel_box, to_pixels
from linftui.nn.verdicts import Verdicts, strict_prediction
from linftui.ops.cpu.library import FILE, load_library
from linftui.rundir.paths import RunPaths

CPU = torch.device("cpu")
EPS = Fraction(1, 10)
INF = math.inf


def verdicts_of(subject: Subject, eps: Fraction = EPS) -> Verdicts:
    return certify_batch(subject.net, subject.images.images, subject.images.labels, eps, 16)


def rows_of(verdicts: Verdicts, rows: Tensor) -> list[Tensor]:
    """Every field, with NaN margins made comparable."""
    return [value[rows].double().nan_to_num(-1e9) for value in vars(verdicts).values()]


def published_verdicts(subject: Subject, eps: float) -> np.ndarray:
    """Certified as the published code has it: float32 intervals from a rounded eps, none of it widened."""
    s = {name: value.numpy() for name, value in subject.net.state_dict().items()}
    x = subject.images.images.numpy().reshape(-1, 64).astype(np.float32) / np.float32(16)
    low, high = np.clip(x - np.float32(eps), 0, 1), np.clip(x + np.float32(eps), 0, 1)
    low, high = ((end - s["normalize.mean"].item()) / s["normalize.std"] for end in (low, high))

    def distances(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        above, below = low[:, None, :] - weight, weight - high[:, None, :]
        return np.maximum(np.maximum(above, below).max(-1), 1e-10), np.maximum(-below, -above).max(-1)

    for k in range(len(subject.net.hidden)):
        low, high = (end - s[f"shifts.{k}.running_mean"] for end in distances(s[f"hidden.{k}.weight"]))
    low, high = (end + s["last.bias"] for end in distances(s["last.weight"]))
    labels = subject.images.labels.numpy()[:, None]
    others = low.copy()
    np.put_along_axis(others, labels, np.inf, axis=1)
    result: np.ndarray = np.take_along_axis(high, labels, axis=1)[:, 0] < others.min(1)
    return result


class TestVerdicts:
    def test_some_digits_are_certified_and_all_of_those_are_classified_right(self, trained: Subject) -> None:
        verdicts = verdicts_of(trained)
        assert 100 < int(verdicts.certified.sum()) < int(verdicts.correct.sum()) < 360
        assert (verdicts.correct | ~verdicts.certified).all()
        assert torch.equal(verdicts.correct, verdicts.strict & (verdicts.prediction == trained.images.labels))
        assert verdicts.finite.all() and torch.equal(verdicts.certified, verdicts.margin >= 0)

    def test_neither_order_nor_company_changes_a_bit_of_them(self, trained: Subject) -> None:
        images, whole = trained.images, verdicts_of(trained)
        order = torch.randperm(360, generator=torch.Generator().manual_seed(0))
        for rows in (order, order[:7], order[100:101]):
            alone = certify_batch(trained.net, images.images[rows], images.labels[rows], EPS, 16)
            here, there = rows_of(alone, torch.arange(len(rows))), rows_of(whole, rows)
            assert all(map(torch.equal, here, there))

    def test_a_larger_radius_certifies_a_subset_with_smaller_margins(self, trained: Subject) -> None:
        radii = ["0", "1e-9", "1/255", "0.05", "0.1", "0.1000001", "0.2", "1/3", "1", "7"]
        steps = [verdicts_of(trained, Fraction(eps)) for eps in radii]
        for inner, outer in zip(steps, steps[1:], strict=False):
            assert (inner.certified | ~outer.certified).all()
            assert (outer.margin <= inner.margin).all()
        counts = [int(step.certified.sum()) for step in steps]
        assert counts[0] > counts[4] > counts[7] and counts[-1] == 0

    def test_at_eps_0_nearly_all_that_is_right_is_certified(self, trained: Subject) -> None:
        verdicts = verdicts_of(trained, Fraction(0))
        assert int(verdicts.correct.sum()) - int(verdicts.certified.sum()) <= 1

    def test_what_dtype_tensors_have_by_default_changes_no_bit_of_them(self, trained: Subject) -> None:
        expected = verdicts_of(trained)
        torch.set_default_dtype(torch.float64)
        try:
            found = verdicts_of(trained)
        finally:
            torch.set_default_dtype(torch.float32)
        for one, other in zip(vars(found).values(), vars(expected).values(), strict=True):
            assert one.dtype == other.dtype and torch.equal(one, other)

    def test_beyond_1_every_radius_is_the_whole_cube(self, trained: Subject) -> None:
        one, more = verdicts_of(trained, Fraction(1)), verdicts_of(trained, Fraction(10**6))
        assert torch.equal(one.margin, more.margin) and one.margin.unique().numel() <= 10

    @pytest.mark.parametrize("eps", ["1/255", "2/255", "8/255", "0.05", "0.1", "0.2"])
    def test_they_are_those_of_the_published_definition(self, trained: Subject, eps: str) -> None:
        """Within 0.02 points: none of 360 images may differ. Margins that tight do not occur here."""
        ours = verdicts_of(trained, Fraction(eps)).certified
        assert np.array_equal(ours.numpy(), published_verdicts(trained, float(Fraction(eps))))

    def test_equal_logits_are_never_certified(self, trained: Subject) -> None:
        model = copy.deepcopy(trained.net)
        with torch.no_grad():
            model.last.weight[1:], model.last.bias[1:] = model.last.weight[0], model.last.bias[0]
        verdicts = certify_batch(model, trained.images.images, trained.images.labels, Fraction(0), 16)
        assert not verdicts.certified.any() and not verdicts.strict.any() and not verdicts.correct.any()

    @pytest.mark.parametrize("poison", [math.nan, INF, -INF])
    @pytest.mark.parametrize(
        "tensor", ["hidden.0.weight", "shifts.1.running_mean", "last.weight", "last.bias"]
    )
    def test_a_net_that_is_not_finite_certifies_nothing_and_says_so(
        self, trained: Subject, tensor: str, poison: float
    ) -> None:
        model = copy.deepcopy(trained.net)
        model.state_dict()[tensor].view(-1)[3] = poison
        verdicts = certify_batch(model, trained.images.images, trained.images.labels, EPS, 16)
        assert not verdicts.finite.any() and not verdicts.certified.any()
        assert not verdicts.correct.any() and verdicts.margin.isnan().all()

    def test_a_label_that_is_no_class_is_an_error(self, trained: Subject) -> None:
        with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
            certify_batch(trained.net, trained.images.images[:1], torch.tensor([10]), EPS, 16)

    def test_a_verdict_that_the_executed_net_contradicts_is_reported_as_a_bug(self, trained: Subject) -> None:
        class Boaster(DistanceMLP):
            def bounds(self, box: IntervalBounds) -> IntervalBounds:
                everything = torch.zeros(len(box.lower), 10)
                everything[:, 4] = 1  # sure of class 4 whatever it sees
                return IntervalBounds.of(everything, everything)

        model = copy.deepcopy(trained.net)
        model.__class__ = Boaster
        with pytest.raises(CertificationError, match="certified as class 4 but classified as .*report this"):
            certify_batch(model, trained.images.images, torch.full((360,), 4), EPS, 16)


class TestAttack:
    """Projected gradient steps, at p = inf and on smoother surrogates, from corners and from the image."""

    def attacked(self, subject: Subject, eps: Fraction) -> list[Tensor]:
        images, labels, model = subject.images.images, subject.images.labels, subject.net
        box, generator = pixel_box(images, eps, 16), torch.Generator().manual_seed(0)
        points = []
        for p, restart in ((INF, 0), (INF, 1), (100.0, 1), (30.0, 0), (30.0, 1), (8.0, 1)):
            x = to_pixels(images, 16)
            if restart:
                x = torch.where(torch.rand(x.shape, generator=generator) < 0.5, box.lower, box.upper)
            for step in range(12):
                x = x.detach().requires_grad_()
                loss = nn.functional.multi_margin_loss(model(x, Moment(p=p)), labels, margin=100.0)
                (gradient,) = torch.autograd.grad(loss, x)
                x = (x + float(eps) / (1 + step / 3) * gradient.sign()).clamp(box.lower, box.upper)
                points.append(x.detach())
        return points

    @torch.no_grad()
    def margins(self, subject: Subject, x: Tensor) -> Tensor:
        logits, labels = subject.net(x, AT_INFINITY).double(), subject.images.labels[:, None]
        own = logits.gather(1, labels)[:, 0]
        return own - logits.scatter(1, labels, -INF).amax(1)

    @pytest.mark.parametrize("eps", [Fraction(8, 255), EPS])
    def test_no_certified_digit_is_broken_and_many_others_are(self, trained: Subject, eps: Fraction) -> None:
        verdicts, broken = verdicts_of(trained, eps), torch.zeros(360, dtype=torch.bool)
        with torch.enable_grad():
            points = self.attacked(trained, eps)
        for x in points:
            prediction, strict = strict_prediction(trained.net(x, AT_INFINITY).detach())
            broken |= ~strict | (prediction != trained.images.labels)
            assert (self.margins(trained, x) >= verdicts.margin).all()  # of all images, certified or not
        assert not (broken & verdicts.certified).any()
        fragile = verdicts.correct & ~verdicts.certified
        assert int((broken & fragile).sum()) >= 0.3 * int(fragile.sum()) > 0  # the attack is worth its name


class TestModel:
    def net(self) -> DistanceMLP:
        return DistanceMLP(
            in_shape=(1, 2, 2), classes=3, width=4, depth=2, identity=10.0, mean=(0.3,), std=0.4, seed=0
        ).eval()

    def test_a_float32_net_in_evaluation_is_accepted(self) -> None:
        check_net(self.net())

    def test_training_mode_is_refused_in_any_part(self) -> None:
        with pytest.raises(CertificationError, match="training mode"):
            check_net(self.net().train())
        model = self.net()
        model.shifts[0].train()
        with pytest.raises(CertificationError, match="training mode"):
            check_net(model)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
    def test_another_precision_is_refused(self, dtype: torch.dtype) -> None:
        with pytest.raises(CertificationError, match=f"is {dtype}; certificates are about float32"):
            check_net(self.net().to(dtype))
        model = self.net()
        model.last.weight.data = model.last.weight.data.to(dtype)
        with pytest.raises(CertificationError, match=f"last.weight is {dtype}"):
            check_net(model)

    @pytest.mark.parametrize("std", [0.0, -0.4, INF, math.nan])
    def test_a_std_that_is_no_scale_is_refused(self, std: float) -> None:
        model = self.net()
        model.normalize.std.fill_(std)
        with pytest.raises(CertificationError, match="std must be positive and finite"):
            check_net(model)


PROBE = """
import ctypes, torch
from linftui.certify.conditions import check_arithmetic
from linftui.errors import CertificationError
{before}
try:
    check_arithmetic(torch.device("cpu"))
except CertificationError as error:
    print(error)
"""


# What gcc before 13 links into a library that is told of fast arithmetic: flush to zero, denormals are zero.
FLUSHING = """
#include <xmmintrin.h>
__attribute__((constructor)) static void flush(void) { _mm_setcsr(_mm_getcsr() | 0x8040); }
"""

CERTIFY = """
import ctypes, sys, torch
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from linftui.certify import certifier
from linftui.certify.subject import load_subject
from linftui.errors import CertificationError
from linftui.rundir.paths import RunPaths

def meanwhile():
    ctypes.CDLL(sys.argv[3])
    return False

certifier.draw_curve = lambda summary, certificate: None
subject, _ = load_subject(RunPaths(Path(sys.argv[1])), "latest", "running", 10, torch.device("cpu"))
subject = replace(subject, paths=RunPaths(Path(sys.argv[2])))
subject.paths.root.mkdir()
try:
    certifier.certify(subject, Fraction(1, 10), meanwhile)
except CertificationError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def flushing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with the CPU kernels in it, which changes the arithmetic of the thread that loads it."""
    kernels, _ = load_library()
    if kernels is None or shutil.which("gcc") is None or platform.machine() != "x86_64":
        pytest.skip("needs the CPU kernels, gcc and an x86-64 processor")
    real = Path(kernels._name)
    library = tmp_path_factory.mktemp("flushing") / "ops" / "cpu" / FILE
    library.parent.mkdir(parents=True)
    source = library.with_suffix(".c")
    source.write_text(FLUSHING)
    subprocess.run(
        [
            "gcc",
            "-shared",
            "-fPIC",
            "-Wl,--no-as-needed",
            f"-Wl,-rpath,{real.parent}",
            "-o",
            library,
            source,
            real,
        ],
        check=True,
    )
    return library


def probed(before: str) -> str:
    """What check_arithmetic says in a process of its own after `before`; nothing where it is content."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(before=before)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestArithmetic:
    def test_this_machine_is_fit_to_certify(self) -> None:
        check_arithmetic(CPU)

    @pytest.mark.skipif(not torch.set_flush_denormal(False), reason="denormals cannot be flushed here")
    def test_flushed_denormals_are_refused(self) -> None:
        said = probed("torch.set_flush_denormal(True)")
        assert "denormals are flushed to zero on cpu" in said and "set_flush_denormal" in said

    def test_it_is_the_kernels_own_that_are_probed_once_they_are_loaded(self, flushing: Path) -> None:
        package = flushing.parents[2]
        said = probed(f"import linftui; linftui.__path__.insert(0, {str(package)!r})")
        assert "denormals are flushed to zero on cpu (cpu-" in said and "-ffast-math" in said

    def test_every_thread_of_the_pool_is_probed_not_the_first_alone(self) -> None:
        said = probed(
            "torch.set_num_threads(2); torch.set_flush_denormal(True); torch.ones(10**6) + 1\n"
            "torch.set_flush_denormal(False); assert torch.tensor(1e-40) * 1 > 0"
        )
        assert "denormals are flushed to zero on cpu" in said

    def test_a_condition_that_fails_during_the_pass_is_met_after_it_and_leaves_no_certificate(
        self, flushing: Path, trained_run: RunPaths, tmp_path: Path
    ) -> None:
        command = [sys.executable, "-c", CERTIFY, trained_run.root, tmp_path / "run", flushing]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert "denormals are flushed to zero on cpu" in done.stdout, done.stderr
        assert list((tmp_path / "run" / "certificates").iterdir()) == []

    @pytest.mark.skipif(
        (platform.machine(), platform.libc_ver()[0]) != ("x86_64", "glibc"), reason="knows x86-64 Linux only"
    )
    @pytest.mark.parametrize(
        "mode", [0x800, *(pytest.param(m, marks=pytest.mark.thorough) for m in (0x400, 0xC00))]
    )  # upward; downward, to zero
    def test_another_rounding_is_refused(self, mode: int) -> None:
        said = probed(f"assert ctypes.CDLL('libm.so.6').fesetround({mode}) == 0")
        assert "does not round to nearest on cpu" in said
