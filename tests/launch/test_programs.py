"""Programs of the system are asked, those of the folder one stands in are not."""

import os
from pathlib import Path

import pytest

from linftui.launch import programs
from linftui.launch.plan import LaunchPlan
from linftui.launch.programs import output_of, search_path


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called `oracle` in a folder of PATH; what it does is up to the test."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return write_program(folder, 'echo " an answer "')


def write_program(folder: Path, script: str) -> Path:
    file = folder / "oracle"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_its_answer_comes_without_white_space_around_it(program: Path) -> None:
    assert output_of("oracle") == "an answer"
    write_program(program.parent, 'printf "%s|" "$@"')
    assert output_of("oracle", "a b", "$(c)") == "a b|$(c)|"
    write_program(program.parent, r"printf 'caf\351'")
    assert output_of("oracle") == "caf\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "folders", ["", ".", ":{path}", "{path}:", "{path}::/bin", ".:{path}", "here:{path}"]
)
def test_it_is_not_looked_for_in_the_folder_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: str
) -> None:
    write_program(tmp_path, "touch owned; echo owned")
    (tmp_path / "here").mkdir()
    write_program(tmp_path / "here", "touch owned; echo owned")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", folders.format(path="/usr/bin"))
    assert output_of("oracle") is None
    assert not Path("/owned").exists() and not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/a:/b", "/a:/b"),
        (":/a::b/c:./d:/e:.", "/a:/e"),
        ("", os.defpath),
        ("bin", os.defpath),
        (None, os.defpath),
    ],
)
def test_absolute_folders_of_path_are_searched(
    monkeypatch: pytest.MonkeyPatch, given: str | None, kept: str
) -> None:
    monkeypatch.delenv("PATH")
    if given is not None:
        monkeypatch.setenv("PATH", given)
    assert search_path() == kept
    assert (
        LaunchPlan(devices=("cpu",), threads=1).environment()["PATH"] == kept
    )  # a worker starts programs too


def test_it_starts_in_the_root_folder_and_cannot_wait_for_input(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_program(program.parent, "pwd; cat; ls /proc/self/fd | wc -l")
    place, descriptors = (output_of("oracle") or "").split()
    assert place == "/" and int(descriptors) <= 5  # the three of every program, one of ls, one of sh


def test_without_an_answer_there_is_none(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert output_of("no-such-program") is None
    write_program(program.parent, "echo half; exit 3")
    assert output_of("oracle") is None
    program.write_text("#!/no/such/interpreter\n")
    assert output_of("oracle") is None
    monkeypatch.setattr(programs, "PATIENCE_S", 0.2)
    write_program(program.parent, "echo half; exec sleep 60")
    assert output_of("oracle") is None
