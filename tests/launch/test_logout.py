"""Whether one is told that the system ends runs at logout: asked of a stand-in for systemd's loginctl."""

from pathlib import Path

import pytest

from linftui.launch import logout
from linftui.launch.logout import logout_warning


@pytest.fixture
def loginctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `loginctl` that answers with the content of a file, for a user called ada."""
    program = tmp_path / "loginctl"
    program.write_text(
        "#!/bin/sh\n"
        f'[ "$*" = "show-session --property=KillUserProcesses --value" ] && cat {tmp_path}/answer\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setattr(logout, "LINGER", tmp_path / "linger")
    return tmp_path / "answer"


def test_a_system_that_ends_processes_at_logout_is_told_of(loginctl: Path) -> None:
    loginctl.write_text("yes\n")
    assert logout_warning() == (
        "this system ends your processes when you log out; run once: loginctl enable-linger"
    )


def test_a_user_who_lingers_is_not_concerned(loginctl: Path, tmp_path: Path) -> None:
    loginctl.write_text("yes\n")
    (tmp_path / "linger").mkdir()
    (tmp_path / "linger" / "ada").touch()
    assert logout_warning() == ""


@pytest.mark.parametrize("user", ["root", "ada"])
def test_root_is_spared_and_so_is_everybody_where_the_system_says_no(
    loginctl: Path, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    loginctl.write_text("yes\n" if user == "root" else "no\n")
    monkeypatch.setenv("LOGNAME", user)
    assert logout_warning() == ""


def test_a_system_without_logind_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert logout_warning() == ""
