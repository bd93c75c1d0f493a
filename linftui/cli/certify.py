"""`linftui certify`: certify a run's network, and show the certificates."""

import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from linftui.cli import completion
from linftui.cli.options import AsJson, Devices, RunNames, RunsDir, Threads
from linftui.cli.render import aligned, certificate_json, certificate_text, fail, print_json, warn
from linftui.cli.screen import has_bars
from linftui.rundir.paths import DEFAULT_ROOT, CertificatePaths, RunPaths
from linftui.text import clean, count, share, stopwatch, wilson

if TYPE_CHECKING:
    from linftui.launch.certification import Certification
    from linftui.rundir.records import CertificateSummary

POLL_S = 0.2


def certify(
    run: RunNames,
    eps: Annotated[
        list[str],
        typer.Option(help='Radii in pixel units, exact, such as 8/255 or "0.1,0.2"; default: the recipe\'s.'),
    ] = [],  # noqa: B006 - typer copies it
    checkpoint: Annotated[
        str,
        typer.Option(
            metavar="latest|best|STEP",
            help="Which checkpoint to certify.",
            autocompletion=completion.named_checkpoints,
        ),
    ] = "latest",
    means: Annotated[
        str,
        typer.Option(
            metavar="running|re-estimated",
            help="Which means; re-estimated ones make a different network, and the certificate says so.",
        ),
    ] = "running",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N test images.")] = None,
    devices: Devices = "auto",
    threads: Threads = None,
    runs_dir: RunsDir = DEFAULT_ROOT,
    as_json: AsJson = False,
) -> int:
    """Certify a run's test accuracy at p = inf: a theorem about the executed network, image by image.

    Ctrl-C stops it and keeps the certificates that are complete.
    """
    from linftui.actions.certify import attend, certify_request, check
    from linftui.cli.data import download_bar
    from linftui.devices import snapshot
    from linftui.rundir.store import RunStore

    store, machine, plans = RunStore(runs_dir), snapshot(), []
    for paths in [store.find(name) for name in run]:
        request = certify_request(paths, eps, checkpoint, means, limit)
        plans.append(check(paths, request, machine, devices, threads))
    for plan in plans:
        with download_bar() as progress:
            certification = attend(plan, progress=progress)
        if code := _certify_run(certification, plan.paths, len(plan.request.eps), as_json):
            return code
    return 0


def _certify_run(certification: "Certification", paths: RunPaths, radii: int, as_json: bool) -> int:
    """Follows one run's certification to its end and prints the certificates; returns the exit code."""
    from linftui.rundir.certificates import Certificates

    try:
        interrupted, code = _follow(certification, radii)
    finally:
        certification.close()
    progress, whole, unverified, checked = certification.progress(), 0, 0, Certificates(paths)
    for certificate, known in progress.certificates:
        if known is None or not known.complete:
            continue
        found, whole = checked.check(certificate.root.name), whole + 1
        if found.summary is None or found.problem:
            fail(certificate_text(found))
            unverified += 1
        else:
            _show(certificate, found.summary, as_json)
    if interrupted:
        print("stopped; unfinished certificates are discarded", file=sys.stderr)
        return 130
    if code:
        raise certification.failure(code)
    if unverified:
        return 1
    if whole < radii:
        why = progress.error or "some cannot be found"
        fail(f"{why}: {whole} of {radii} certificates of {paths.id} are complete")
        return 143
    return 0


def _follow(certification: "Certification", radii: int) -> tuple[bool, int]:
    """Waits for the worker behind a progress bar; returns whether it was interrupted, and its exit code."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from linftui.rundir.stopping import WARNING_SIGNALS

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=not has_bars(), refresh_per_second=4,
    )  # fmt: skip
    # SIGTERM, a lost terminal and a scheduler's warning act like Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP, *WARNING_SIGNALS):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    interrupted = False
    with bar:
        tasks = [bar.add_task("loading", total=None) for _ in range(radii)]
        while True:
            try:
                code = certification.wait(POLL_S)
                for task, (_, summary) in zip(tasks, certification.progress().certificates, strict=False):
                    if summary is not None:
                        bar.update(
                            task,
                            completed=summary.n,
                            total=summary.total,
                            description=clean(_so_far(summary)),
                        )
                if code is not None:
                    break
            except KeyboardInterrupt:
                if interrupted:
                    certification.kill()
                interrupted = True
                certification.ask_to_stop()
    for warning in certification.progress().warnings:
        warn(warning)
    return interrupted, code


def _so_far(summary: "CertificateSummary") -> str:
    if not summary.n:
        return f"eps {summary.eps_exact}"
    spread = wilson(summary.certified_accuracy, summary.n)
    return (
        f"eps {summary.eps_exact}  certified {share(summary.certified_accuracy)} ± {spread:.4f}  "
        f"clean {share(summary.clean_accuracy)}"
    )


def _show(certificate: CertificatePaths, summary: "CertificateSummary", as_json: bool) -> None:
    from linftui.rundir.certificates import images_of

    if as_json:
        print_json(certificate_json(summary, certificate.root))
        return
    print(
        clean(
            f"{summary.run} {summary.checkpoint}: {images_of(summary)} test images "
            f"at eps {summary.eps_exact}, {summary.means} means, "
            f"{stopwatch(summary.seconds)} ({count(summary.images_per_s)} images/s)"
        )
    )
    spread = wilson(summary.certified_accuracy, summary.n)
    print(f"  clean      {share(summary.clean_accuracy)}")
    print(f"  certified  {share(summary.certified_accuracy)}  (± {spread:.4f}, sampling, 95%)")
    if summary.non_finite:
        print(f"  {summary.non_finite:,} images met a NaN or an infinity and are not certified")
    rows = [["  CLASS", "IMAGES", "CLEAN", "CERTIFIED"]]
    rows += [
        [f"  {c.label}", f"{c.n:,}", share(c.clean / c.n), share(c.certified / c.n)]
        for c in summary.per_class
    ]
    print(aligned(rows))
    print(clean(f"  {certificate.root}"))
