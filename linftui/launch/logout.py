"""Whether a run will outlive the login it was started from: some systems end all of a user's processes."""

import getpass
from pathlib import Path

from linftui.launch.programs import output_of

LINGER = Path("/var/lib/systemd/linger")


def logout_warning() -> str:
    """A warning where systemd-logind will end the run at logout, else an empty string."""
    if output_of("loginctl", "show-session", "--property=KillUserProcesses", "--value") != "yes":
        return ""  # also where there is no logind: then nothing ends processes at logout
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no name
        return ""
    if user == "root" or (LINGER / user).exists():
        return ""
    return "this system ends your processes when you log out; run once: loginctl enable-linger"
