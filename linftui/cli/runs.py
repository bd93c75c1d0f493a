"""`linftui ls` and `linftui show`: the runs and their progress."""

from typing import TYPE_CHECKING

from linftui.cli.options import AsJson, RunName, RunsDir
from linftui.cli.render import aligned, certificate_text, print_json, radius, summary_json
from linftui.rundir.paths import DEFAULT_ROOT, RunPaths
from linftui.text import age, clean, count, number, share

if TYPE_CHECKING:
    from linftui.rundir.store import RunSummary


def ls(runs_dir: RunsDir = DEFAULT_ROOT, as_json: AsJson = False) -> None:
    """List the runs, newest first."""
    from linftui.rundir.store import RunStore

    store = RunStore(runs_dir)
    store.require()
    runs = store.summaries()
    if as_json:
        for run in runs:
            print_json(summary_json(run))
        return
    if not runs:
        print(f"no runs in {runs_dir}; start one with: linftui run digits")
        return
    rows = [["STATE", "RUN", "EPOCH", "P", "LOSS", "CERTIFIED", "CLEAN", "EPS", "AGE"]]
    rows += [
        [
            run.state or "damaged",
            clean(run.id),
            f"{run.epoch if run.epoch is not None else '-'}/{run.epochs or '-'}",
            number(run.p, 3),
            number(run.loss),
            share(run.certified_accuracy),
            share(run.clean_accuracy),
            radius(run),
            age(run.created),
        ]
        for run in runs
    ]
    print(aligned(rows))


def show(run: RunName, runs_dir: RunsDir = DEFAULT_ROOT, as_json: AsJson = False) -> None:
    """Show the progress of one run, its checkpoints and its certificates."""
    from linftui.rundir.store import RunStore, summarise

    paths = RunStore(runs_dir).find(run)
    summary = summarise(paths)
    if as_json:
        print_json(summary_json(summary))
        return
    facts = [
        ("run", summary.id),
        ("state", summary.state or f"damaged: {summary.problem}"),
        ("recipe", summary.recipe or "-"),
        ("epoch", f"{summary.epoch if summary.epoch is not None else '-'} of {summary.epochs or '-'}"),
        ("step", count(summary.step)),
        ("p", number(summary.p)),
        *([] if summary.lam is None else [("lam", number(summary.lam))]),
        ("loss", number(summary.loss)),
        ("clean accuracy", share(summary.clean_accuracy)),
        ("certified accuracy", f"{share(summary.certified_accuracy)} (p = inf, eps {radius(summary)})"),
        ("attempt", str(summary.attempt or "-")),
        ("path", summary.path),
        *([("problem", summary.problem)] if summary.state and summary.problem else []),
        *([("caution", summary.caution)] if summary.caution else []),
        *_unreadable(paths),
        *_ending(paths, summary),
        *_kept(paths),
    ]
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        print(f"{name:<{width}}  {clean(value)}")


def _unreadable(paths: RunPaths) -> list[tuple[str, str]]:
    from linftui.errors import LinftuiError
    from linftui.rundir.reader import unreadable_lines

    try:
        lines = unreadable_lines(paths)
    except LinftuiError as error:
        return [("metrics", str(error))]
    return [("unreadable lines", f"{lines:,}")] if lines else []


def _ending(paths: RunPaths, run: "RunSummary") -> list[tuple[str, str]]:
    from linftui.errors import LinftuiError
    from linftui.rundir.ending import read_why_it_ended

    try:
        why = read_why_it_ended(paths, run.state, run.attempt)
    except LinftuiError as error:
        return [("ended", str(error))]
    return [("ended", why)] if why else []


def _kept(paths: RunPaths) -> list[tuple[str, str]]:
    from linftui.rundir.certificates import Certificates
    from linftui.rundir.checkpoints import complete_checkpoints

    kept = [("checkpoint", checkpoint.root.name) for checkpoint in complete_checkpoints(paths)]
    return kept + [("certificate", certificate_text(found)) for found in Certificates(paths).look()]
