"""The documentation says what is so: commands, options, files, and the two commands of the README."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert set(commands) >= {"run", "resume", "ls", "show", "certify", "recipe", "data", "doctor"}
    missing = [command for command in commands if f"linftui {command}" not in README]
    assert not missing


@pytest.mark.parametrize("family", ["recipe", "data"])
def test_the_readme_names_every_subcommand(family: str) -> None:
    missing = [
        command
        for command in _commands(_help(family))
        if f"`{command}`" not in README and f"linftui {family} {command}" not in README
    ]
    assert not missing


@pytest.mark.parametrize("command", ["run", "resume", "certify"])
def test_options_in_the_readme_exist(command: str) -> None:
    line = next(line for line in README.splitlines() if line.startswith(f"| `linftui {command} "))
    offered = _help(command)
    unknown = [option for option in re.findall(r"--[\w-]+", line) if option not in offered]
    assert not unknown


def test_ci_runs_the_readmes_own_commands() -> None:
    ci = (REPO / ".ci" / "run").read_text()
    install, test = "pip install -e '.[test]'", "pytest"
    assert f"{install} && {test}" in README
    assert install.replace("install", "install --quiet") in ci
    assert re.search(r"^pytest$", ci, re.MULTILINE)


def test_the_guide_names_every_file_of_a_run(finished_run: Path) -> None:
    names = {path.name for path in finished_run.rglob("*") if path.is_file()}
    assert {"metrics.jsonl", "trainer.json", "COMPLETE"} <= names
    missing = [name for name in names if name not in GUIDE]
    assert not missing


def test_the_guide_names_every_field_of_the_metrics(finished_run: Path) -> None:
    lines = (finished_run / "metrics.jsonl").read_text().splitlines()
    fields = {field for line in lines for field in json.loads(line)} - {"v", "n", "seconds"}
    missing = [field for field in fields if not re.search(rf"\b{field}\b", GUIDE)]
    assert not missing


def test_the_library_page_names_everything_public() -> None:
    page = (REPO / "docs" / "library.md").read_text()
    program = "import linftui.ops as o, linftui.nn as n; print(*o.__all__, *n.__all__)"
    names = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    missing = [name for name in names.stdout.split() if name not in page]
    assert names.stdout and not missing
