"""`linftui`: the commands, and the one place where an error becomes a sentence and an exit code."""

import errno
import io
import os
import sys
import traceback

import typer
from typer.exceptions import TyperException

from linftui import __version__
from linftui.cli import bench, certify, completion, control, data, doctor, recipe, run, runs
from linftui.cli.options import RunsDir
from linftui.cli.render import fail, warn
from linftui.cli.screen import has_screen, why_no_screen
from linftui.errors import LinftuiError
from linftui.files import keep_others_from_writing
from linftui.memory import shortage
from linftui.rundir.paths import DEFAULT_ROOT
from linftui.user_folders import log_folder

app = typer.Typer(
    name="linftui",
    help="Train, watch, manage and certify l-infinity-distance nets. Without a command: the dashboard.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("resume")(run.resume)
app.command("stop")(control.stop)
app.command("logs")(control.logs)
app.command("rm")(control.rm)
app.command("ls")(runs.ls)
app.command("show")(runs.show)
app.command("certify")(certify.certify)
app.add_typer(recipe.app, name="recipe")
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")
app.command("doctor")(doctor.doctor)


def _print_version(context: typer.Context, wanted: bool) -> None:
    # While a shell completes a line, it would take anything printed for a completion.
    if wanted and not context.resilient_parsing:
        print(f"linftui {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    runs_dir: RunsDir = DEFAULT_ROOT,
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    if context.invoked_subcommand is not None:
        # Before the command, the option means the same as after it, unless it is given there too.
        os.environ["LINFTUI_RUNS_DIR"] = str(runs_dir)
        return
    if not has_screen():
        print(context.get_help())
        if sys.stdout.isatty() and (why := why_no_screen()):
            warn(f"the dashboard is not shown: {why}")
        return
    from linftui.tui.app import open_dashboard

    raise typer.Exit(open_dashboard(runs_dir))


def main() -> None:
    """Runs a command; exits with 0, with 1 after a failure, 2 after wrong usage, 130 after Ctrl-C."""
    keep_others_from_writing()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show "∞" shows "?"
    completion.rejoin_words(os.environ)
    sys.exit(_run())


def _run() -> int:
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except LinftuiError as error:
        fail(str(error))
        return error.exit_code
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "linftui"
        fail(f"{error.format_message().rstrip('.')}; see {command} --help")
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # The reader of the output is gone, as in `linftui ls | head`; that is not a failure.
        _drop_output()
        return 0
    except SystemExit as error:  # typer's exit after completion, or after a broken pipe
        broken_pipe = isinstance(error.__context__, BrokenPipeError)
        return error.code if isinstance(error.code, int) and not broken_pipe else 0
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            _drop_output()  # errors about files carry their names; this one is about stdout
            fail(f"the output cannot be written: {error.strerror}")
            return 1
        unforeseen = shortage(error) or f"unexpected {type(error).__name__}: {error}"
        fail(f"{unforeseen}; {_log_traceback()}")
        return 1


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # otherwise Python complains as it flushes its buffer


def _log_traceback() -> str:
    """Writes the traceback of the current error to the log; returns a phrase that says where it is."""
    entry = f"$ {' '.join(sys.argv)}\n{traceback.format_exc()}\n"
    try:
        log = log_folder() / "linftui.log"
        with log.open("a", errors="replace") as file:
            file.write(entry)
    except OSError as error:
        return f"the traceback could not be written: {error}"
    return f"the traceback is in {log}"
