"""`linftui certify` in real processes: what it prints, what it leaves behind, what stops it."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.cli_processes import start

Command = Callable[..., subprocess.CompletedProcess[str]]

# The keys that others rely on.
CERTIFIED: dict[str, type] = {
    "run": str,
    "checkpoint": str,
    "n": int,
    "eps": float,
    "eps_exact": str,
    "clean_accuracy": float,
    "certified_accuracy": float,
    "pgd_accuracy": type(None),
    "seconds": float,
    "path": str,
}


# More than can be certified before a signal arrives.
MANY_RADII = [f"{k}/1000" for k in range(1, 201)]


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def certify(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`linftui certify` in a folder that outlives a test."""
    command = [sys.executable, "-m", "linftui", "certify", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def folder(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs; the newest checkpoint of the second, `half`, is cut short."""
    folder = tmp_path_factory.mktemp("certify")
    for name in ("whole", "half"):
        shutil.copytree(finished_run, folder / "runs" / name)
    model = folder / "runs" / "half" / "checkpoints" / "step-00000036" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-100])
    return folder


@pytest.fixture(scope="module")
def certified(folder: Path) -> subprocess.CompletedProcess[str]:
    """A certification at two radii on the whole test set."""
    return certify(folder, "whole", "--eps", "0.1, 8/255", "--json")


class TestJson:
    def test_it_is_an_object_a_line_with_the_promised_keys(
        self, certified: subprocess.CompletedProcess[str]
    ) -> None:
        assert (certified.returncode, certified.stderr) == (0, "")
        lines = json_lines(certified.stdout)
        assert [{key: type(value) for key, value in line.items()} for line in lines] == [CERTIFIED] * 2
        for line, name, eps in zip(lines, ("0.1", "8_255"), (0.1, 8 / 255), strict=True):
            assert (line["run"], line["checkpoint"], line["n"]) == ("whole", "step-00000036", 360)
            assert (line["eps"], line["eps_exact"]) == (eps, name.replace("_", "/"))
            assert 0 <= line["certified_accuracy"] <= line["clean_accuracy"] <= 1
            assert line["path"] == f"runs/whole/certificates/step-00000036-eps-{name}"

    def test_its_figures_are_those_of_the_summary_and_of_the_samples(
        self, folder: Path, certified: subprocess.CompletedProcess[str]
    ) -> None:
        assert certified.stdout
        for line in json_lines(certified.stdout):
            certificate = folder / line.pop("path")
            files = {file.name for file in certificate.iterdir()}
            assert files == {"summary.json", "samples.jsonl", "curve.png", "curve.svg"}
            summary = json.loads((certificate / "summary.json").read_text())
            assert summary["complete"] and summary["means"] == "running" and summary["p"] == "inf"
            assert {key: summary[key] for key in line} == line
            samples = json_lines((certificate / "samples.jsonl").read_text())
            assert len(samples) == 360 and len({sample["index"] for sample in samples}) == 360
            clean = sum(sample["prediction"] == sample["label"] for sample in samples)
            assert clean / 360 == line["clean_accuracy"]
            assert sum(sample["certified"] for sample in samples) / 360 == line["certified_accuracy"]
            assert (certificate / "curve.png").read_bytes().startswith(b"\x89PNG")
            assert "<svg" in (certificate / "curve.svg").read_text()

    def test_a_certificate_at_the_recipes_radius_agrees_with_the_last_evaluation(
        self, folder: Path, certified: subprocess.CompletedProcess[str]
    ) -> None:
        metrics = json_lines((folder / "runs" / "whole" / "metrics.jsonl").read_text())
        evaluation = [record for record in metrics if record["kind"] == "eval"][-1]
        line = json_lines(certified.stdout)[0]
        for figure in ("clean_accuracy", "certified_accuracy"):
            assert line[figure] == evaluation[figure]

    def test_show_lists_the_certificates(
        self, linftui: Command, folder: Path, certified: subprocess.CompletedProcess[str]
    ) -> None:
        shown = linftui("show", "whole", cwd=folder).stdout
        assert certified.stdout
        for line in json_lines(certified.stdout):
            assert f"{Path(line['path']).name}: certified {line['certified_accuracy']:.4f}" in shown


class TestHalfWrittenCheckpoints:
    def test_where_no_checkpoint_is_whole_it_says_so(
        self, fails: Callable[..., str], copied_run: Path
    ) -> None:
        for marker in copied_run.glob("checkpoints/*/COMPLETE"):
            marker.unlink()
        assert fails(1, "certify", "tiny-run") == (
            "tiny-run has no checkpoint to load: checkpoint step-00000036 is incomplete: "
            "it was not fully written"
        )

    def test_a_step_without_a_checkpoint_is_told_with_those_that_have_one(
        self, fails: Callable[..., str], copied_run: Path
    ) -> None:
        sentence = fails(2, "certify", "tiny-run", "--checkpoint", "7")
        assert sentence == "tiny-run has no complete checkpoint at step 7; it has: 24, 36"

    def test_what_one_of_the_runs_does_not_have_is_refused_before_anything_is_begun(
        self, fails: Callable[..., str], copied_run: Path
    ) -> None:
        other = shutil.copytree(copied_run, copied_run.with_name("other"))
        shutil.rmtree(other / "checkpoints" / "step-00000024")
        sentence = fails(2, "certify", "tiny-run", "other", "--checkpoint", "24")
        assert sentence == "other has no complete checkpoint at step 24; it has: 36"
        sentence = fails(2, "certify", "tiny-run", "--checkpoint", "best")
        assert sentence.startswith("tiny-run has no best checkpoint; set data.holdout in the recipe")
        assert not list((copied_run / "logs").glob("certify-*"))


@pytest.mark.slow
def test_another_claim_about_the_checkpoint_before_a_damaged_one_is_a_table_and_a_folder_of_its_own(
    folder: Path,
) -> None:
    done = certify(folder, "half", "--limit", "50", "--means", "re-estimated")
    assert done.returncode == 0
    assert done.stderr == (
        "linftui: warning: checkpoint step-00000036 is damaged: model.safetensors has another SHA-256; "
        "the one before it is used\n"
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("half step-00000024: first 50 of 360 test images at eps 0.1, re-estimated ")
    assert [line.split()[0] for line in lines[1:3]] == ["clean", "certified"]
    assert lines[3].split() == ["CLASS", "IMAGES", "CLEAN", "CERTIFIED"]
    assert sum(int(line.split()[1]) for line in lines[4:-1]) == 50
    assert lines[-1] == "  runs/half/certificates/step-00000024-eps-0.1-re-estimated-first-50"
    certificate = folder / lines[-1].strip()
    assert len((certificate / "samples.jsonl").read_text().splitlines()) == 50
    assert json.loads((certificate / "summary.json").read_text())["means"] == "re-estimated"
    assert [path.name for path in (folder / "runs/half/certificates").iterdir()] == [certificate.name]


def test_a_picture_that_cannot_be_drawn_costs_no_certificate(linftui: Command, copied_run: Path) -> None:
    modules = copied_run / "modules"
    modules.mkdir()
    (modules / "matplotlib.py").write_text("raise ImportError('no libfreetype')")
    done = linftui("certify", copied_run, "--eps", "0.1,0.2", "--json", PYTHONPATH=str(modules))
    assert done.returncode == 0, done.stderr
    assert [line["eps"] for line in json_lines(done.stdout)] == [0.1, 0.2]
    for eps in ("0.1", "0.2"):
        assert f"the curve at eps {eps} could not be drawn: ImportError: no libfreetype" in done.stderr
        (folder,) = (copied_run / "certificates").glob(f"*-eps-{eps}")
        assert {path.name for path in folder.iterdir()} == {"summary.json", "samples.jsonl"}


@pytest.mark.slow
def test_ctrl_c_keeps_the_certificates_that_are_whole_and_nothing_else(copied_run: Path) -> None:
    folder, arguments = copied_run.parents[1], ["tiny-run", "--limit", "40", "--json", "--eps"]
    with start(folder, "certify", *arguments, ",".join(MANY_RADII)) as process:
        while not complete_certificates(copied_run) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "stopped; unfinished certificates are discarded\n")
    done = json_lines(stdout)
    assert 0 < len(done) < len(MANY_RADII)
    assert (
        complete_certificates(copied_run) == len(done) == len(list((copied_run / "certificates").iterdir()))
    )

    again = certify(folder, *arguments, f"{MANY_RADII[0]},{MANY_RADII[-1]}")
    assert (again.returncode, again.stderr) == (0, "")
    assert [(line["eps"], line["n"]) for line in json_lines(again.stdout)] == [(0.001, 40), (0.2, 40)]


@pytest.mark.slow
def test_a_certification_that_somebody_else_stops_is_not_taken_for_done(copied_run: Path) -> None:
    with start(copied_run.parents[1], "certify", "tiny-run", "--eps", ",".join(MANY_RADII)) as process:
        while not complete_certificates(copied_run) and process.poll() is None:
            time.sleep(0.02)
        [worker] = psutil.Process(process.pid).children()
        worker.terminate()
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143
    assert re.fullmatch(
        r"linftui: it was stopped before its end: \d+ of 200 certificates of tiny-run are complete\n", stderr
    )


@pytest.mark.slow
def test_what_cannot_be_checked_any_more_at_the_end_is_no_result(copied_run: Path) -> None:
    """As where somebody removes the checkpoint."""
    eps = ",".join(MANY_RADII[:6])
    arguments = ["tiny-run", "--limit", "40", "--json", "--eps", eps]
    with start(copied_run.parents[1], "certify", *arguments) as process:
        while not complete_certificates(copied_run) and process.poll() is None:
            time.sleep(0.02)
        shutil.rmtree(copied_run / "checkpoints" / "step-00000036")
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "")
    lines = stderr.splitlines()
    assert len(lines) == 6
    for number, line in enumerate(lines, start=1):
        name = f"step-00000036-eps-{number / 1000:g}-first-40"
        assert line.startswith(f"linftui: {name}: unverified: its checkpoint is gone (it says certified 0.")


def complete_certificates(run: Path) -> int:
    summaries = [json.loads(path.read_text()) for path in run.glob("certificates/step*/summary.json")]
    return sum(summary["complete"] for summary in summaries)
