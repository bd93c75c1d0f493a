"""Whether a run will outlive the login it was started from: some systems end all of a user's processes."""

import getpass
import subprocess
from pathlib import Path

LINGER = Path("/var/lib/systemd/linger")


def logout_warning() -> str:
    """A sentence where systemd-logind will end the run at logout, else an empty string."""
    try:
        asked = subprocess.run(
            ["loginctl", "show-session", "--property=KillUserProcesses", "--value"],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
        user = getpass.getuser()
    except (OSError, subprocess.SubprocessError, KeyError):
        return ""  # no logind, or no name: nobody here ends processes at logout
    if asked.stdout.strip() != "yes" or user == "root" or (LINGER / user).exists():
        return ""
    return "this system ends your processes when you log out; say once: loginctl enable-linger"
