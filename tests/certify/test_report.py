"""What a certificate looks like to others: the JSON object, and the pictures."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from matplotlib.image import imread
from msgspec import structs

from linftui.certify import certifier
from linftui.certify.certifier import Subject, certify
from linftui.certify.report import draw_curve, summary_json
from linftui.rundir.paths import CertificatePaths, RunPaths
from linftui.rundir.records import CertificateSummary


@pytest.fixture
def summary(trained: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CertificateSummary:
    monkeypatch.setattr(certifier, "draw_curve", lambda summary, certificate: None)
    return certify(replace(trained, paths=RunPaths(tmp_path / "run")), Fraction(8, 255), lambda: False)


def test_the_json_object_has_the_fields_that_others_rely_on(summary: CertificateSummary) -> None:
    shown = summary_json(summary, Path("runs/x/certificates/y"))
    assert list(shown) == [
        "run", "checkpoint", "n", "eps", "eps_exact", "clean_accuracy", "certified_accuracy", "pgd_accuracy",
        "seconds", "path",
    ]  # fmt: skip
    assert (shown["run"], shown["checkpoint"], shown["n"]) == ("run", "step-00000360", 360)
    assert (shown["eps"], shown["eps_exact"], shown["pgd_accuracy"]) == (8 / 255, "8/255", None)
    assert 0 < shown["certified_accuracy"] < shown["clean_accuracy"] < 1
    assert shown["path"] == "runs/x/certificates/y"
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown


def test_the_curve_is_drawn_as_png_and_svg_and_nothing_else_is_left(
    summary: CertificateSummary, tmp_path: Path
) -> None:
    draw_curve(summary, CertificatePaths(tmp_path))
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"curve.png", "curve.svg"}
    pixels = imread(tmp_path / "curve.png")
    assert pixels.shape[:2] == (600, 960) and pixels[..., :3].std() > 0.05  # something is on it
    assert ElementTree.parse(tmp_path / "curve.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize("curve", [[(0.0, 0.5)] * 33, [(0.0, 0.0), (0.5, 0.0), (1.0, 0.0)]])
def test_a_curve_without_extent_is_drawn_too(
    summary: CertificateSummary, tmp_path: Path, curve: list[tuple[float, float]]
) -> None:
    draw_curve(structs.replace(summary, eps=0.0, curve=curve), CertificatePaths(tmp_path))
    assert (tmp_path / "curve.svg").stat().st_size > 1000


def test_a_strangers_run_id_is_shown_as_it_is_and_never_typeset(
    summary: CertificateSummary, tmp_path: Path
) -> None:
    draw_curve(structs.replace(summary, run=r"a$\frac{$b & <c>"), CertificatePaths(tmp_path))
    ElementTree.parse(tmp_path / "curve.svg")
