"""Where `linftui` and `python -m linftui` begin: quiet even if Ctrl-C comes before anything is imported."""

import os
import sys


def main() -> None:
    """Runs the command line."""
    _replace_closed_streams()
    try:
        from linftui.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


def _replace_closed_streams() -> None:
    """Where the shell has closed one (`<&- >&-`), the next file to be opened would take its place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(descriptor)
    sys.stdin = sys.stdin or open(0)
    sys.stdout = sys.stdout or open(1, "w")
    sys.stderr = sys.stderr or open(2, "w")


if __name__ == "__main__":
    main()
