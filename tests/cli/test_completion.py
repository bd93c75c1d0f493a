"""Names that a shell completes: asked as each shell asks, and by a person who presses TAB in a real one."""

import contextlib
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from linftui.cli.app import app

LINFTUI = Path(sys.executable).with_name("linftui")
SHELLS = ["bash", "zsh", "fish"]
PLAIN = ["n-1", "n.yes_2"]
# Each of them means something else to a shell than a file's name.
HOSTILE = [
    "n\\$(touch PWNED)", "n-$(touch PWNED)", "n`touch PWNED`", "n;touch PWNED;", "n\ntouch PWNED\n",
    "n&touch PWNED&", 'n"$(touch PWNED)', "n'$(touch PWNED)'", "n*", "n?", "[n]", "n{1,2}", "~", "n b", "n:b",
    "n|b", "n>b", "!n", "-n", "n\\", "n\x1b[31m", "n\xe9", "n\n",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Run folders, recipes here and in `recipes`, and other folders, each once by every name."""
    for name in [*PLAIN, *HOSTILE]:
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "meta.json").write_text("{}")
        (tmp_path / name).mkdir()
        for place in (tmp_path, tmp_path / "recipes", tmp_path / "below"):
            place.mkdir(exist_ok=True)
            (place / f"{name}.yaml").write_text("")
    return tmp_path


def offered(shell: str, line: str, folder: Path) -> list[str]:
    """What `linftui` answers to a shell that completes the last word of a line."""
    words = ["linftui", *line.split(" ")]
    asked = {
        "bash": {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": " ".join(words)},
        "fish": {"_TYPER_COMPLETE_ARGS": " ".join(words), "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    with contextlib.chdir(folder):
        done = CliRunner().invoke(
            app, prog_name="linftui", env={**asked, "_LINFTUI_COMPLETE": f"complete_{shell}"}
        )
    assert (done.exit_code, done.stderr) == (0, "")
    said = done.stdout.removesuffix("\n")
    if shell != "zsh":
        return said.split("\n") if said else []
    if said == "_files":
        return []
    listed = re.fullmatch(r"_arguments '\*: :\(\((.*)\)\)'", said, re.DOTALL)
    assert listed is not None, said
    return [name.strip('"') for name in listed[1].split("\n")]


@pytest.mark.parametrize("shell", SHELLS)
def test_plain_names_are_offered_and_no_others(folder: Path, shell: str) -> None:
    assert offered(shell, "show ", folder) == sorted(PLAIN)
    assert offered(shell, "rm n-", folder) == ["n-1"]
    recipes = [*PLAIN, *(f"{name}.yaml" for name in PLAIN)]
    assert offered(shell, "run n", folder) == sorted(recipes)
    below = sorted(f"below/{name}.yaml" for name in [*PLAIN, "-n"])  # behind a folder a dash begins no option
    assert offered(shell, "run below/", folder) == below
    assert offered(shell, f"run {folder}/below/n", folder) == [f"{folder}/{file}" for file in below[1:]]
    assert {"digits", "runs", "below"} < set(offered(shell, "run ", folder))


def test_paths_are_completed_as_they_are_typed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder / "below"))
    (folder / "below" / "z.yml").write_text("")
    assert offered("bash", "run ./n-", folder) == ["./n-1", "./n-1.yaml"]
    assert offered("bash", "run ~/n-", folder) == ["~/n-1.yaml"]
    assert offered("fish", "recipe check below/z", folder) == ["below/z.yml"]
    assert offered("bash", "recipe check n-1.yaml n.", folder) == ["n.yes_2", "n.yes_2.yaml"]
    assert offered("bash", "show runs/n-", folder) == ["runs/n-1"]
    assert offered("zsh", f"show {folder}/runs/n-", folder) == [f"{folder}/runs/n-1"]


@pytest.mark.parametrize(
    "line", ["--runs-dir other show ", "show --runs-dir other ", "--runs-dir runs show --runs-dir other "]
)
def test_runs_are_those_of_the_folder_that_is_named(folder: Path, line: str) -> None:
    (folder / "other" / "elsewhere").mkdir(parents=True)
    (folder / "other" / "elsewhere" / "meta.json").write_text("{}")
    assert [offered(shell, line, folder) for shell in SHELLS] == [["elsewhere"]] * 3


def test_below_a_home_that_is_not_there_nothing_is_offered(folder: Path) -> None:
    for line in ("show --runs-dir ~no-such-user/r ", "--runs-dir ~no-such-user/r show "):
        assert [offered(shell, line, folder) for shell in SHELLS] == [[]] * 3


def test_values_of_options_are_completed(copied_run: Path) -> None:
    folder = copied_run.parents[1]
    plan = ["p.begin_epoch=35.0", "p.end_epoch=315.0", "p.final=1000.0", "p.start=8.0"]
    assert offered("bash", "run digits --set p.", folder) == plan
    assert offered("fish", "run --set p.b", folder) == plan[:1]  # whichever recipe it will be
    assert offered("zsh", "run mnist-small --set eps.t", folder) == ["eps.test=0.3", "eps.train=0.45"]
    assert offered("fish", "run digits --set optimizer.lr=0.0", folder) == ["optimizer.lr=0.03"]
    assert offered("bash", "run digits --devices ", folder)[-2:] == ["auto", "cpu"]
    assert offered("bash", "resume tiny-run --checkpoint ", folder) == ["24", "36"]
    assert offered("bash", "resume nosuch --checkpoint ", folder) == []
    assert offered("fish", "certify tiny-run --checkpoint ", folder) == ["24", "36", "best", "latest"]


@pytest.mark.parametrize("line", ["show n$", "show zzz", "run zzz", "run **", "run [", "run /no/such"])
def test_what_leads_nowhere_is_left_to_the_shell(folder: Path, line: str) -> None:
    assert [offered(shell, line, folder) for shell in SHELLS] == [[], [], []]


def test_an_option_that_prints_does_not_while_a_line_is_completed(folder: Path) -> None:
    assert offered("zsh", "--version show ", folder) == sorted(PLAIN)


def test_hidden_folders_are_offered_to_those_who_ask(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    assert ".venv" not in offered("bash", "run ", tmp_path)
    assert offered("bash", "run .v", tmp_path) == [".venv"]


def press_tab(shell: str, folder: Path, *lines: str) -> str:
    """Types lines into a real shell that completes `linftui`; returns all that was shown."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    environment = {
        **os.environ, "PATH": f"{LINFTUI.parent}:{os.environ['PATH']}", "TERM": "dumb",
        "ZDOTDIR": str(folder),
    }  # fmt: skip
    script = subprocess.check_output(
        [LINFTUI], env={**environment, "_LINFTUI_COMPLETE": f"source_{shell}"}, text=True
    )
    begin = "autoload -Uz compinit; compinit -u -D\n" if shell == "zsh" else ""
    startup = folder / ".zshrc"
    startup.write_text(f"{begin}{script}\nPS1='READY> '\n")
    options = ["--noprofile", "--rcfile", startup] if shell == "bash" else ["-d"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [program, *options, "-i"], cwd=folder, env=environment,
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = ""
        for line in [*lines, "exit"]:
            shown = read_until(ours, shown, at_prompt)
            os.write(ours, f"{line}\r".encode())
            shown += " "
        shown = read_until(ours, shown, lambda text: False)
        process.wait(30)
    os.close(ours)
    return shown


def at_prompt(shown: str) -> bool:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).endswith("READY> ")


def read_until(terminal: int, shown: str, wanted: Callable[[str], bool]) -> str:
    """Reads a terminal until it shows what is wanted, or nobody has its other end any more."""
    while not wanted(shown):
        try:
            shown += os.read(terminal, 1 << 16).decode(errors="replace")
        except OSError:
            break
    return shown


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_tab_runs_nothing_and_puts_nothing_in_the_line_that_does(tmp_path: Path, shell: str) -> None:
    names = ["x\\$(touch PWNED)", "y-$(touch PWNED)", "z`touch PWNED`"]  # no recipe begins like one of them
    for place in (tmp_path, tmp_path / "runs"):
        for name in names:
            (place / name).mkdir(parents=True)
            (place / name / "meta.json").write_text("{}")
    lines = [f"linftui {command} {name[0]}\t" for name in names for command in ("show", "run")]
    shown = press_tab(shell, tmp_path, *lines)
    assert not (tmp_path / "PWNED").exists(), shown
    assert shown.count("cannot be read: ") == len(lines)  # each line went to the command, and named a folder


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_tab_completes_a_plain_name(copied_run: Path, shell: str) -> None:
    shown = press_tab(shell, copied_run.parents[1], "echo linftui", "linftui show ti\t")
    assert "tiny-run" in shown and "finished" in shown and "No such" not in shown


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_tab_understands_what_stands_before_it(copied_run: Path, tiny_recipe: Path, shell: str) -> None:
    folder = copied_run.parents[1]
    (folder / "below").mkdir()
    shutil.copy(tiny_recipe, folder / "below" / "only.yaml")
    shown = press_tab(
        shell, folder,
        "linftui show --runs-dir=runs ti\t", "linftui --runs-dir=runs show ti\t",
        "linftui recipe check bel\t",
        "linftui run digits --dry-run --set optimizer.lr\t",
        "linftui run --set optimizer.lr=0.5 --dry-run digit\t",
    )  # fmt: skip
    assert shown.count("finished") == 2 and "No such" not in shown, shown
    assert "below/only.yaml" in shown and "optimizer.lr=0.03" in shown, shown
    assert len(re.findall(r"overrides +optimizer\.lr=", shown)) == 2, shown


def test_fish_lists_plain_names_alone(folder: Path) -> None:
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("there is no fish here")
    environment = {**os.environ, "PATH": f"{LINFTUI.parent}:{os.environ['PATH']}", "HOME": str(folder)}
    script = subprocess.check_output(
        [LINFTUI], env={**environment, "_LINFTUI_COMPLETE": "source_fish"}, text=True
    )
    (folder / "linftui.fish").write_text(script)
    done = subprocess.run(
        [fish, "--no-config", "-c", "source linftui.fish; complete -C 'linftui show n'"],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, sorted(done.stdout.split())) == (0, sorted(PLAIN))
    assert not (folder / "PWNED").exists()
