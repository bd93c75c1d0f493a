"""Everything that needs a GPU, in one call that has so many seconds: sections in the order of their value.

    scripts/gpu_check.sh [--budget 540] [--only SECTION,...] [--rival FILE] [--rehearse]

Each section is a process with a limit of its own; one whose limit no longer fits into what is left is
skipped. After each, gpu-check.json and logs.txt are written to $OUT, or build/gpu-check; a short table comes
last. Where the tests fail, the sanitizers follow at once, and then nothing: wrong results need no timings.
docs/gpu.md says what to make of each figure.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPORT, LOGS = "gpu-check.json", "logs.txt"
LAST_LINES = 40  # of a section that failed, in the output


@dataclass(frozen=True)
class Section:
    """A program, and how many seconds it may take."""

    name: str
    limit_s: int
    command: tuple[str, ...]


@dataclass
class Outcome:
    """What became of a section."""

    name: str
    state: str  # "ok", "failed (CODE)", "cut at N s", "skipped"
    seconds: float = 0.0
    summary: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.state in ("ok", "skipped")


def sections(folder: Path, rehearse: bool, rival: str | None) -> list[Section]:
    """All of them, the most telling first; their limits add up to no more than a call may take."""

    def script(name: str, *words: str) -> tuple[str, ...]:
        return (sys.executable, str(HERE / name), *words, *(["--rehearse"] if rehearse else []))

    # The project's own settings ask for test packages that such a machine need not have.
    pytest = (sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", ".", "-p", "no:cacheprovider")
    tests = (*pytest, "-q", "-rfE", "--tb=short", "-m", "cuda", "tests/ops/cuda", "tests/data/test_loader.py")
    return [
        Section("facts", 35, script("facts.py")),
        Section("tests", 100, tests),
        Section("operators", 105, script("operators.py", *(["--rival", rival] if rival else []))),
        Section("digits", 50, script("runs.py", "digits", str(folder / "runs"))),
        Section("paper", 70, script("runs.py", "paper", str(folder / "runs"))),
        Section("step", 40, script("step.py")),
        Section("variants", 45, script("variants.py")),
        Section("sanitizers", 60, script("sanitize.py")),
        Section("profile", 35, script("profile_kernels.py", str(folder / REPORT))),
    ]


def run(section: Section, folder: Path) -> Outcome:
    """Runs a section to its end or its limit; what it prints is kept."""
    started = time.monotonic()
    log = folder / f"{section.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            section.command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(section.limit_s)
            state = "ok" if code == 0 else f"failed ({code})"
        except subprocess.TimeoutExpired:
            state = f"cut at {section.limit_s} s"
        finally:
            end_session(process)
    text = log.read_text(errors="replace")
    log.unlink()
    with (folder / LOGS).open("a") as logs:
        logs.write(f"==== {section.name}: {state}\n{text}\n")
    rows = [row for line in text.splitlines() if line.startswith("{") and (row := decoded(line))]
    summaries = [row["summary"] for row in rows if "summary" in row]
    last = next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
    if state == "ok" and not text.strip():
        state = "failed (silent)"
    if state != "ok":
        print(f"---- {section.name}: {state}", *text.splitlines()[-LAST_LINES:], sep="\n", flush=True)
    return Outcome(
        section.name, state, time.monotonic() - started, summaries[-1] if summaries else last,
        [row for row in rows if "summary" not in row],
    )  # fmt: skip


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Ends whatever is left of a section, what it has started included."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def decoded(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def check(chosen: list[Section], budget_s: float, folder: Path) -> list[Outcome]:
    """Runs sections while time is left; writes the report after each."""
    deadline = time.monotonic() + budget_s
    outcomes: list[Outcome] = []
    waiting = list(chosen)
    while waiting:
        section = waiting.pop(0)
        if section.limit_s > deadline - time.monotonic():
            outcomes.append(Outcome(section.name, "skipped", summary="its limit no longer fits"))
        else:
            outcomes.append(run(section, folder))
        if section.name == "tests" and not outcomes[-1].good:
            waiting = [each for each in waiting if each.name == "sanitizers"]
        write(outcomes, folder)
    return outcomes


def write(outcomes: list[Outcome], folder: Path) -> None:
    report = {"time": time.time(), "sections": [asdict(outcome) for outcome in outcomes]}
    (folder / REPORT).write_text(json.dumps(report, indent=1))


def table(outcomes: list[Outcome]) -> str:
    """A line a section; no line so long that a reply would cut it."""
    lines = [f"{o.name:<11} {o.state:<13} {o.seconds:5.0f} s  {o.summary[:400]}" for o in outcomes]
    return "\n".join(lines)


def main() -> int:
    """Runs the check; 1 where a section failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget", type=float, default=540.0, help="seconds for all of it")
    parser.add_argument("--only", help="names of sections, with commas")
    parser.add_argument("--rival", help="a Python file to measure too: forward(x, weight, p), backward")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU: how far it can be tried")
    options = parser.parse_args()
    folder = Path(os.environ.get("OUT") or "build/gpu-check").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LOGS).unlink(missing_ok=True)
    every = sections(folder, options.rehearse, options.rival)
    names = [section.name for section in every]
    wanted = options.only.split(",") if options.only else names
    if unknown := sorted(set(wanted) - set(names)):
        parser.error(f"there is no section {unknown[0]}; there are {', '.join(names)}")
    outcomes = check([section for section in every if section.name in wanted], options.budget, folder)
    shutil.rmtree(folder / "runs", ignore_errors=True)  # weights are too large to be brought back
    print(table(outcomes))
    return int(not all(outcome.good for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
