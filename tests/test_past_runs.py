"""Runs that earlier versions of the contract have left in tests/fixtures: shown, resumed, certified today."""

import json
import shutil
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from platform import machine

import pytest

from linftui.ops.cpu.library import library
from linftui.rundir.paths import RunPaths
from linftui.rundir.store import read_meta, read_resolved

FIXTURES = Path(__file__).parent / "fixtures"
VERSIONS = sorted(path.name for path in FIXTURES.iterdir() if (path / "expected.json").exists())
Command = Callable[..., subprocess.CompletedProcess[str]]
LAST_STEP = 330


@pytest.fixture(params=VERSIONS)
def past(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of runs of one version, to do with as one likes."""
    return Path(shutil.copytree(FIXTURES / request.param, tmp_path / "runs"))


def test_they_are_shown_with_all_that_is_known_of_them(past: Path, linftui: Command) -> None:
    done = linftui("ls", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = {run["id"]: run for run in map(json.loads, done.stdout.splitlines())}
    assert {name: run["state"] for name, run in found.items()} == {
        "whole": "finished", "two-ranks": "finished", "resumed": "finished",
        "stopped": "stopped", "crashed": "crashed",
    }  # fmt: skip
    whole = found["whole"]
    assert (whole["step"], whole["eps"], whole["recipe"]) == (LAST_STEP, 0.1, "past")
    assert (whole["clean_accuracy"], whole["certified_accuracy"]) == pytest.approx((0.4528, 0.3667), abs=1e-4)
    done = linftui("show", "whole")
    assert (done.returncode, done.stderr) == (0, "")
    assert "step-00000330-eps-0.1: certified " in done.stdout and "unverified" not in done.stdout
    assert "re-estimated" in done.stdout


def test_the_hash_of_their_recipes_holds(past: Path) -> None:
    """Every checkpoint names it, and belongs to another recipe once it is another."""
    runs = [RunPaths(folder) for folder in past.iterdir() if folder.is_dir()]
    assert runs
    for paths in runs:
        assert read_resolved(paths).hash == read_meta(paths).recipe_hash


@pytest.mark.slow
@pytest.mark.skipif(library() is None or machine() != "x86_64", reason="other kernels round otherwise")
@pytest.mark.parametrize("run", ["stopped", pytest.param("crashed", marks=pytest.mark.thorough)])
def test_one_that_had_not_ended_goes_on_to_the_same_bits(past: Path, linftui: Command, run: str) -> None:
    expected = json.loads((past / "expected.json").read_text())
    done = linftui("resume", run, "--no-tui", **expected["environment"])
    assert done.returncode == 0, done.stderr
    model = past / run / "checkpoints" / f"step-{LAST_STEP:08d}" / "model.safetensors"
    assert sha256(model.read_bytes()).hexdigest() == expected["model_sha256"]


@pytest.mark.slow
def test_a_certificate_made_again_has_the_same_verdicts(past: Path, linftui: Command) -> None:
    [kept] = past.glob("whole/certificates/step-*-eps-0.1")
    verdicts = (kept / "samples.jsonl").read_text()
    shutil.rmtree(kept)
    done = linftui("certify", "whole", "--devices", "cpu")
    assert done.returncode == 0, done.stderr
    assert (kept / "samples.jsonl").read_text() == verdicts
