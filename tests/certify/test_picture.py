"""What a certificate looks like to others: the JSON object, and the pictures."""

import json
import os
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from matplotlib.image import imread
from msgspec import structs

from linftui.certify import certifier
from linftui.certify.certifier import certify
from linftui.certify.picture import draw_curve
from linftui.certify.subject import Subject
from linftui.cli.render import certificate_json
from linftui.rundir.paths import CertificatePaths, RunPaths
from linftui.rundir.records import CertificateSummary


@pytest.fixture
def summary(trained: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CertificateSummary:
    monkeypatch.setattr(certifier, "draw_curve", lambda summary, certificate: "")
    (tmp_path / "run").mkdir()
    return certify(replace(trained, paths=RunPaths(tmp_path / "run")), Fraction(8, 255), lambda: False)


def test_the_json_object_has_the_fields_that_others_rely_on(summary: CertificateSummary) -> None:
    shown = certificate_json(summary, Path("runs/x/certificates/y"))
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
    assert draw_curve(summary, CertificatePaths(tmp_path)) == ""
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"curve.png", "curve.svg"}
    pixels = imread(tmp_path / "curve.png")
    assert pixels.shape[:2] == (600, 960) and pixels[..., :3].std() > 0.05  # something is on it
    assert ElementTree.parse(tmp_path / "curve.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize("curve", [[(0.0, 0.5)] * 33, [(0.0, 0.0), (0.5, 0.0), (1.0, 0.0)]])
def test_a_curve_without_extent_is_drawn_too(
    summary: CertificateSummary, tmp_path: Path, curve: list[tuple[float, float]]
) -> None:
    assert not draw_curve(structs.replace(summary, eps=0.0, curve=curve), CertificatePaths(tmp_path))
    assert (tmp_path / "curve.svg").stat().st_size > 1000


def test_a_strangers_run_id_is_shown_as_it_is_and_never_typeset(
    summary: CertificateSummary, tmp_path: Path
) -> None:
    assert not draw_curve(structs.replace(summary, run=r"a$\frac{$b & <c>"), CertificatePaths(tmp_path))
    ElementTree.parse(tmp_path / "curve.svg")


def test_a_persons_settings_and_the_current_folders_are_not_obeyed(
    summary: CertificateSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TeX may not be installed, and the current folder may be a stranger's."""
    settings = "text.usetex: True\nlines.linewidth: 20\nno.such.setting: 1\n"
    own, here, pipe = (tmp_path / name for name in ("own", "here", "pipe"))
    for folder in (own, here, pipe):
        folder.mkdir()
    (own / "matplotlibrc").write_text(settings)
    (here / "matplotlibrc").write_text(settings)
    os.mkfifo(pipe / "matplotlibrc")
    drawn = set()
    for current, variables in (
        (tmp_path, {}),
        (here, {}),
        (pipe, {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}),  # as every notebook sets it
        (tmp_path, {"MPLCONFIGDIR": str(own), "MPLBACKEND": "no such thing"}),
    ):
        monkeypatch.chdir(current)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert draw_curve(summary, CertificatePaths(tmp_path)) == ""
        drawn.add((tmp_path / "curve.png").read_bytes())
    assert len(drawn) == 1


def test_no_home_that_can_be_written_is_no_matter(
    summary: CertificateSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/dev/null/home")
    monkeypatch.setenv("MPLCONFIGDIR", "/dev/null/settings")
    assert draw_curve(summary, CertificatePaths(tmp_path)) == ""
    assert (tmp_path / "curve.svg").stat().st_size > 1000


def test_why_there_is_no_picture_is_told_and_no_half_of_one_is_left(
    summary: CertificateSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "curve.png").write_text("half")
    (tmp_path / "matplotlib.py").write_text("raise OSError('its library is gone')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said = draw_curve(summary, CertificatePaths(tmp_path))
    assert said.startswith("the curve at eps 8/255 could not be drawn: ") and "its library is gone" in said
    assert not (tmp_path / "curve.png").exists()
    monkeypatch.setattr("linftui.certify.picture.DRAWING_S", 0.01)
    assert "timed out" in draw_curve(summary, CertificatePaths(tmp_path))
