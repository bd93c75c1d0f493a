"""Where `linftui` and `python -m linftui` begin: quiet even if Ctrl-C comes before anything is imported."""

import sys


def main() -> None:
    """Runs the command line."""
    try:
        from linftui.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
