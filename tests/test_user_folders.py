"""Where a user's things are, and what is said where there is no such place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from linftui.errors import UsageError
from linftui.user_folders import cache_folder, from_home


def test_the_cache_is_the_users_own_unless_the_environment_names_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LINFTUI_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "linftui"
    monkeypatch.setenv("LINFTUI_CACHE", "~/data")
    assert cache_folder() == Path(os.path.expanduser("~/data"))


def test_a_tilde_is_a_home_folder_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert [from_home(path) for path in ("~", "~/runs", "~root/x", "a~", "./~")] == [
        Path("/home/me"), Path("/home/me/runs"), Path(os.path.expanduser("~root/x")), Path("a~"), Path("./~"),
    ]  # fmt: skip
    with pytest.raises(
        UsageError, match="^~nobody-of-this-name/x: there is no home folder ~nobody-of-this-name;"
    ):
        from_home("~nobody-of-this-name/x")


def homeless(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a user without HOME whom the system does not know."""
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "LINFTUI_CACHE")}
    kept = {name: value for name, value in kept.items() if not name.startswith("XDG_")}
    command = ["unshare", "--user", "--map-user=12345", sys.executable, "-m", "linftui", *arguments]
    try:
        if subprocess.run([*command[:3], "true"], capture_output=True).returncode != 0:
            pytest.skip("users cannot be made up here")
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    return subprocess.run(
        command, cwd=folder, env={**kept, **environment}, capture_output=True, text=True, timeout=240
    )


class TestHomeless:
    @pytest.mark.slow
    def test_digits_need_no_folder_at_all(self, tiny_recipe: Path, tmp_path: Path) -> None:
        done = homeless(tmp_path, "run", str(tiny_recipe), "--name", "x")
        assert (done.returncode, done.stderr) == (0, "")
        done = homeless(tmp_path, "certify", "x", "--limit", "5")
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]

    def test_other_data_are_asked_a_folder_for(self, tmp_path: Path) -> None:
        done = homeless(tmp_path, "data", "fetch", "mnist")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "linftui: there is no home folder to keep data and kernels in; set LINFTUI_CACHE to a folder\n"
        )
        done = homeless(tmp_path, "--runs-dir", "~/runs", "ls")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "linftui: ~/runs: there is no home folder ~; give the full path\n"
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.slow
    def test_the_doctor_says_so(self, tmp_path: Path) -> None:
        done = homeless(tmp_path, "doctor")
        assert (done.returncode, done.stderr) == (0, "")
        assert "there is no home folder to keep data and kernels in; set LINFTUI_CACHE" in done.stdout


@pytest.mark.parametrize("option", [["--runs-dir=~/my runs"], []])
def test_a_folder_of_runs_may_begin_with_a_tilde(option: list[str], tmp_path: Path) -> None:
    """Where no shell replaces it: after an equals sign, between quotes, in the environment."""
    home = tmp_path / "home"
    (home / "my runs").mkdir(parents=True)
    given = {"HOME": str(home)} if option else {"HOME": str(home), "LINFTUI_RUNS_DIR": "~/my runs"}
    done = subprocess.run(
        [sys.executable, "-m", "linftui", *option, "ls"],
        cwd=tmp_path, env={**os.environ, **given}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == f"no runs in {home}/my runs; start one with: linftui run digits\n", done.stderr
