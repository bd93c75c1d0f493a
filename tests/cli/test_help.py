"""`--help` and `--version`: what the command line says of itself."""

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer.main

from linftui import __version__
from linftui.cli.app import app

Command = Callable[..., subprocess.CompletedProcess[str]]

COMMANDS = {"run", "resume", "stop", "logs", "rm", "ls", "show", "certify", "doctor"}
COMMANDS |= {"recipe check", "recipe show", "recipe schema", "recipe list", "data fetch"}
# They print no data, but a schema, verdicts, stages, or what somebody else wrote.
WITHOUT_JSON = {"recipe schema", "recipe check", "stop", "logs", "rm"}


def leaves(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its full name."""
    for key, child in command.commands.items():
        full = f"{name} {key}".strip()
        if hasattr(child, "commands"):
            yield from leaves(child, full)
        else:
            yield full, child


ALL = dict(leaves(typer.main.get_command(app)))


def test_every_command_is_there() -> None:
    assert set(ALL) >= COMMANDS


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_says_what_it_does(name: str) -> None:
    command = ALL[name]
    assert command.help
    assert [parameter.name for parameter in command.params if not parameter.help] == []


@pytest.mark.parametrize("name", [name for name in ALL if name not in WITHOUT_JSON])
def test_json_is_offered_wherever_data_is_printed(name: str) -> None:
    assert "--json" in {option for parameter in ALL[name].params for option in parameter.opts}


@pytest.mark.parametrize("arguments", [[], ["--help"]], ids=["alone", "--help"])
def test_help_lists_every_command_with_a_sentence(linftui: Command, arguments: list[str]) -> None:
    done = linftui(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.partition("Commands:\n")[2].splitlines()
    listed = {line.split()[0]: line.split()[1:] for line in lines}
    assert set(listed) == {name.split()[0] for name in ALL}
    assert all(listed.values())


def test_help_of_a_command_tells_its_arguments_and_options(linftui: Command) -> None:
    done = linftui("certify", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("RUN...", "--eps", "--checkpoint", "latest|best|STEP", "--limit", "--means", "--json"):
        assert word in done.stdout


def test_version_is_the_packages(linftui: Command) -> None:

    assert linftui("--version").stdout == f"linftui {__version__}\n"
