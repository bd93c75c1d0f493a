"""What is run where there is a GPU for fifteen minutes: its budget and report, a rehearsal without one."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def module(name: str) -> ModuleType:
    """A program of scripts/gpu, without running it."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / "gpu" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found  # dataclasses look there
    spec.loader.exec_module(found)
    return found


check = module("check")


def section(name: str, limit_s: int, program: str) -> Any:
    return check.Section(name, limit_s, (sys.executable, "-c", program))


def reported(folder: Path) -> dict[str, dict[str, Any]]:
    sections = json.loads((folder / check.REPORT).read_text())["sections"]
    return {section["name"]: section for section in sections}


def test_all_sections_together_fit_into_one_call() -> None:
    every = check.sections(Path("x"), False, None)
    assert sum(section.limit_s for section in every) <= 540
    assert [section.name for section in every][:3] == ["facts", "tests", "operators"]


def test_rows_and_logs_are_kept_of_whatever_ends(tmp_path: Path) -> None:
    says = 'print(\'{"name": "a", "seconds": 0.5}\', flush=True); print(\'{not json\'); '
    chosen = [
        section("good", 20, says + 'print(\'{"summary": "all is well"}\')'),
        section("bad", 20, says + "raise SystemExit(3)"),
        section("silent", 20, "pass"),
        section("slow", 1, says + "import time; time.sleep(60)"),
    ]
    started = time.monotonic()
    outcomes = check.check(chosen, 100, tmp_path)
    assert time.monotonic() - started < 30
    assert [outcome.state for outcome in outcomes] == ["ok", "failed (3)", "failed (silent)", "cut at 1 s"]
    found = reported(tmp_path)
    for name in ("good", "bad", "slow"):
        assert found[name]["rows"] == [{"name": "a", "seconds": 0.5}]
    assert (found["good"]["summary"], found["bad"]["summary"]) == ("all is well", "{not json")
    assert "==== slow: cut at 1 s\n" in (tmp_path / check.LOGS).read_text()
    lines = check.table(outcomes).splitlines()
    assert lines[0].startswith("good ") and lines[0].endswith("all is well") and len(lines) == 4


def test_what_a_section_has_started_ends_with_it(tmp_path: Path) -> None:
    starts = "import subprocess, time; p = subprocess.Popen(['sleep', '600']); "
    program = f"{starts}print(p.pid, flush=True); time.sleep(60)"
    [outcome] = check.check([section("slow", 2, program)], 100, tmp_path)
    assert outcome.state == "cut at 2 s"
    pid = int(outcome.summary)
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    pytest.fail("it is still there")


def test_what_no_longer_fits_is_skipped_and_what_does_is_not(tmp_path: Path) -> None:
    quick = "print('quick')"
    chosen = [section("first", 5, quick), section("long", 50, quick), section("short", 5, quick)]
    outcomes = check.check(chosen, 20, tmp_path)
    assert [outcome.state for outcome in outcomes] == ["ok", "skipped", "ok"]
    assert "its limit no longer fits" in check.table(outcomes)


def test_where_tests_fail_the_sanitizers_follow_and_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fails = "print('FAILED tests/ops/x.py::test_y'); raise SystemExit(1)"
    chosen = [
        section("facts", 9, "print('a card')"), section("tests", 9, fails),
        section("operators", 9, "print('fast')"), section("sanitizers", 9, "print('clean')"),
        section("profile", 9, "print('counters')"),
    ]  # fmt: skip
    outcomes = check.check(chosen, 100, tmp_path)
    assert [outcome.name for outcome in outcomes] == ["facts", "tests", "sanitizers"]
    assert "FAILED tests/ops/x.py::test_y" in capfd.readouterr().out  # what the next try needs
    assert list(reported(tmp_path)) == ["facts", "tests", "sanitizers"]


def test_targets_are_shares_at_the_papers_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS / "gpu")
    operators, profile = module("operators"), module("profile_kernels")
    where = "[512 x 5120 x 5120]"
    found = {
        name: operators.Row(name, seconds, 1e12, "limit", share)
        for name, seconds, share in [
            (f"inf forward {where}", 1.0, 0.80), (f"bounds {where}", 1.0, 0.60),
            (f"p = 8 forward + backward {where}", 2.0, 0.71), ("bounds [512 x 10 x 5120]", 1.0, 0.1),
            (f"rival, p = 8 forward + backward {where}", 4.0, 0.3),
            (f"rival, p = inf forward {where}", 5.0, 0.1), ("1300 epochs of it", 7200.0, None),
        ]
    }  # fmt: skip
    assert operators.summary(found, "rival") == (
        f"3 targets met; missed: bounds 60% of 70%; rival, p = 8 forward + backward {where} only 2.0 times "
        "as long as ours; the schedule takes 2.00 h of 1.6"
    )
    rows = [{"name": row.name, "share": row.share} for row in found.values()]
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"sections": [{"name": "operators", "rows": rows}]}))
    assert profile.kernels_that_miss(report) == "fold_maxima"
    assert "gradient" in profile.kernels_that_miss(tmp_path / "nothing was measured")


@pytest.mark.slow
def test_without_a_gpu_each_part_says_so_in_a_sentence(tmp_path: Path) -> None:
    command = [
        SCRIPTS / "gpu_check.sh",
        "--rehearse",
        "--only",
        "facts,operators,sanitizers",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True,
        env={**os.environ, "OUT": str(tmp_path), "PYTHON": sys.executable},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    for name in ("facts", "operators"):
        assert "sees no GPU; measure the CPU: --device cpu" in lines[name]
    assert "no compute-sanitizer here" in lines["sanitizers"]


@pytest.mark.thorough
@pytest.mark.timeout(1200)
def test_what_is_packed_is_rehearsed(tmp_path: Path) -> None:
    """Real wheels, kernels compiled for a GPU that is elsewhere, a real run that is resumed and certified."""
    environment = {
        **os.environ, "OUT": str(tmp_path / "out"), "GPU_PACK": str(tmp_path / "pack"),
        "PYTHON": sys.executable,
    }  # fmt: skip
    for command in (["gpu_pack.sh", "--nvrtc", "here"], ["gpu_check.sh", "--rehearse"]):
        done = subprocess.run(
            [SCRIPTS / command[0], *command[1:]], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
    packed = json.loads((tmp_path / "pack" / "packed.json").read_text())
    kept = list((tmp_path / "pack" / "cache" / "cubins").glob("*.cubin"))
    assert packed["arch"] == "sm_90" and 60 <= len(kept) <= packed["kernels"]
    wheels = [wheel.name.split("-")[0] for wheel in (tmp_path / "pack" / "wheels").glob("*.whl")]
    assert {"msgspec", "textual", "pooch"} < set(wheels)
    found = reported(tmp_path / "out")
    assert {section["state"] for section in found.values()} == {"ok"} and len(found) == 9
    for name in ("digits", "paper"):
        [verdicts] = [row for row in found[name]["rows"] if row["name"] == "verdicts"]
        assert verdicts == {"name": "verdicts", "images": 360, "differing": 0}
        [stopped] = [row for row in found[name]["rows"] if row["name"] == "stopped"]
        assert stopped["state"] == "stopped"
