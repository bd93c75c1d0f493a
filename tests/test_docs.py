"""The documentation says what is so: commands, options, files, and the two commands of the README."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from msgspec import Struct, structs

from linftui.rundir.paths import CertificatePaths, CertifyLogPaths, CheckpointPaths, RunPaths
from linftui.rundir.records import DeviceRecord, Gpu, GpuProcess
from linftui.rundir.state import State
from linftui.tui.bindings import help_sections

REPO = Path(__file__).resolve().parents[1]
README = (REPO / "README.md").read_text()
GUIDE = (REPO / "docs" / "guide.md").read_text()


def _help(*command: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "linftui", *command, "--help"], capture_output=True, text=True, check=True
    ).stdout


def _commands(text: str) -> list[str]:
    return re.findall(r"^  (\w+) ", text.partition("Commands:")[2], re.MULTILINE)


def test_the_readme_names_every_command() -> None:
    commands = _commands(_help())
    assert set(commands) >= {"run", "resume", "stop", "logs", "rm", "ls", "show", "certify", "doctor"}
    missing = [command for command in commands if f"linftui {command}" not in README]
    assert not missing


@pytest.mark.parametrize("family", ["recipe", "data", "bench"])
def test_the_readme_names_every_subcommand(family: str) -> None:
    missing = [
        command
        for command in _commands(_help(family))
        if f"`{command}`" not in README and f"linftui {family} {command}" not in README
    ]
    assert not missing


@pytest.mark.parametrize("command", ["run", "resume", "stop", "logs", "rm", "certify"])
def test_options_in_the_readme_exist(command: str) -> None:
    line = next(line for line in README.splitlines() if line.startswith(f"| `linftui {command} "))
    offered = _help(command)
    unknown = [option for option in re.findall(r"--[\w-]+", line) if f"{option} " not in offered]
    assert "--" in line and not unknown


def test_ci_runs_the_readmes_own_commands() -> None:
    ci = (REPO / ".ci" / "run").read_text()
    install, test = "pip install -e '.[test]'", "pytest"
    assert f"{install} && {test}" in README
    assert install.replace("install", "install --quiet") in ci
    assert re.search(r"^pytest$", ci, re.MULTILINE)


def test_ci_ends_with_what_a_newcomer_does_first() -> None:
    ci = (REPO / ".ci" / "run").read_text().splitlines()
    assert ci[-2].startswith('linftui run "$recipe"') and ci[-1] == "linftui certify latest"
    assert "linftui run recipes/digits.yaml && linftui certify latest" in README


def test_the_guide_names_every_file_of_a_run(finished_run: Path) -> None:
    names = {path.name for path in finished_run.rglob("*") if path.is_file()}
    assert {"metrics.jsonl", "devices.jsonl", "trainer.json", "COMPLETE"} <= names
    missing = [name for name in names if name not in GUIDE]
    assert not missing


def test_the_guide_names_every_file_that_a_run_may_have() -> None:
    run = RunPaths(Path("run"))
    of_an_attempt = (run.supervisor_log, run.torchrun_log, run.stop_request, run.kill_request)
    files = [file(1) for file in of_an_attempt]
    files += [run.rank_log(1, 0), run.member(1, 0), run.error(1, 0)]
    checkpoint = CheckpointPaths(Path("step-00000001"))
    for paths in (run, checkpoint, CertificatePaths(Path("c")), CertifyLogPaths(Path("c"))):
        named = [name for name, value in vars(type(paths)).items() if isinstance(value, property)]
        told = [getattr(paths, name) for name in named]
        files += [value for value in told if isinstance(value, Path)]  # else a name, or a step
    missing = [file.name for file in files if file.name not in GUIDE]
    assert len(files) > 20 and not missing


def test_the_guide_names_every_state() -> None:
    told = GUIDE.partition("## States")[2].partition("## JSON")[0]
    missing = [state for state in get_args(State) if f"`{state}`" not in told]
    assert get_args(State) and not missing


@pytest.mark.parametrize("record", [DeviceRecord, Gpu, GpuProcess])
def test_the_guide_names_every_field_of_devices(record: type[Struct]) -> None:
    told = GUIDE.partition("**Records of devices**")[2].partition("##")[0]
    fields = {field.name for field in structs.fields(record)} - {"v"}
    missing = [field for field in fields if not re.search(rf"\b{field}\b", told)]
    assert fields and not missing


def test_the_guide_names_every_key_of_a_dry_run() -> None:
    command = [sys.executable, "-m", "linftui", "run", "digits", "--dry-run", "--json"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)
    told = GUIDE.partition("`linftui run --dry-run --json` prints `")[2].partition("`")[0]
    assert told.replace(",", " ").split() == list(json.loads(done.stdout))


def test_the_guide_has_every_key_of_the_dashboard() -> None:
    told = GUIDE.partition("## Keys of the dashboard")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]*) \| `([^|`]+)` \| (.+) \|$", told, re.MULTILINE)
    expected = [
        (title if place == 0 else "", key, sentence)
        for title, keys in help_sections()
        for place, (key, sentence) in enumerate(keys)
    ]
    assert rows == expected


def test_the_guide_names_every_field_of_the_metrics(finished_run: Path) -> None:
    lines = (finished_run / "metrics.jsonl").read_text().splitlines()
    fields = {field for line in lines for field in json.loads(line)} - {"v", "kind"}
    told = GUIDE.partition("**`train` records**")[2].partition("**Records of devices**")[0]
    missing = [field for field in fields if not re.search(rf"\b{field}\b", told)]
    assert fields and not missing


def test_every_part_of_the_package_has_its_layer_told() -> None:
    parts = {path.name.removesuffix(".py") for path in (REPO / "linftui").glob("[a-z]*")} - {"py.typed"}
    page = (REPO / "CONTRIBUTING.md").read_text()
    missing = [part for part in parts if f"`{part}`" not in page]
    assert {"tui", "launch"} <= parts and not missing


def test_the_library_page_names_everything_public() -> None:
    page = (REPO / "docs" / "library.md").read_text()
    program = "import linftui.ops as o, linftui.nn as n; print(*o.__all__, *n.__all__)"
    names = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    missing = [name for name in names.stdout.split() if name not in page]
    assert names.stdout and not missing


def test_each_row_of_the_security_page_names_tests_that_exist() -> None:
    page = (REPO / "docs" / "security.md").read_text()
    rows = [row for row in page.splitlines() if row.startswith("| ") and row != "| what | tests |"]
    assert len(rows) > 30
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, test in named:
            assert re.search(rf"^ *(async )?def {test}\(", (REPO / file).read_text(), re.MULTILINE), test


def test_the_reading_list_names_files_that_exist() -> None:
    """It is in the order in which a newcomer reads."""
    listed = (REPO / "CONTRIBUTING.md").read_text().partition("Read the code")[2].partition("\n\n")[0]
    files = re.findall(r"`([\w/]+\.\w+)`", listed)
    assert len(files) == 7 and all((REPO / file).is_file() for file in files)


def test_the_glossary_is_in_alphabetical_order_and_found_from_both_pages() -> None:
    terms = re.findall(r"^\| ([^|]+) \|", (REPO / "docs" / "glossary.md").read_text(), re.MULTILINE)[1:]
    letters = [re.sub(r"[^a-z ]", "", term.lower()) for term in terms]
    assert len(terms) > 40 and letters == sorted(letters)
    assert all("docs/glossary.md" in (REPO / page).read_text() for page in ("README.md", "CONTRIBUTING.md"))
