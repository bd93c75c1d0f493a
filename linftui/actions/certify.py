"""Certifying a run, and stopping its certifications."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

from linftui.actions.data import fetch_for
from linftui.actions.telling import Report, silent
from linftui.actions.why_not import why_not
from linftui.devices import DeviceSnapshot
from linftui.errors import CertificationError, CheckpointError, LinftuiError, UsageError
from linftui.launch.certification import (
    Certification,
    CertificationProgress,
    begin_certification,
    certifications,
    check_certification,
    stop_certification,
)
from linftui.launch.placement import plan_devices
from linftui.launch.plan import LaunchPlan
from linftui.recipe.fraction import format_fraction, parse_radius
from linftui.rundir.checkpoints import all_checkpoints, choose_checkpoint
from linftui.rundir.paths import CertifyLogPaths, RunPaths, certificate_name
from linftui.rundir.reader import read_record
from linftui.rundir.records import CertifyRequest, Means
from linftui.rundir.store import read_recipe

if TYPE_CHECKING:
    from linftui.data.download import Progress


def certify_request(
    paths: RunPaths,
    radii: Sequence[str],
    checkpoint: str = "latest",
    means: str = "running",
    limit: int | None = None,
) -> CertifyRequest:
    """A request to certify a run, from what a user typed.

    Args:
        paths: the run directory.
        radii: exact, in pixel units, each one or several separated by commas; empty: the recipe's eps.test.
        checkpoint: "latest", "best" or a step.
        means: "running" or "re-estimated".
        limit: certify only this many test images, the first ones; None: all of them.

    Raises:
        LinftuiError: a radius cannot be parsed, or the recipe cannot be read.
    """
    exact = [_radius(text) for given in radii for text in given.split(",")]
    eps = dict.fromkeys(map(format_fraction, exact or [read_recipe(paths).eps.test]))  # each once
    return CertifyRequest(eps=list(eps), checkpoint=checkpoint, means=cast(Means, means), limit=limit)


def _radius(text: str) -> Fraction:
    try:
        return parse_radius(text)
    except ValueError as error:
        raise UsageError(f"--eps {error}") from error


@dataclass(frozen=True)
class CertifyPlan:
    """What a request leads to."""

    paths: RunPaths
    request: CertifyRequest
    launch: LaunchPlan


def check(
    paths: RunPaths,
    request: CertifyRequest,
    machine: DeviceSnapshot,
    devices: str = "auto",
    threads: int | None = None,
) -> CertifyPlan:
    """Plans where to certify. Raises LinftuiError if it cannot be certified, or already is being."""
    launch = plan_devices(devices, machine, threads)
    check_certification(paths, launch, request)
    if why := why_not("certify", None, paths.id, checkpoints=bool(all_checkpoints(paths))):
        raise CheckpointError(why)
    _refuse_what_goes_on(paths, request)
    return CertifyPlan(paths, request, launch)


def begin(plan: CertifyPlan, report: Report = silent, progress: "Progress | None" = None) -> None:
    """Starts a certification as a process of its own; returns once it has loaded the network.

    Arguments as for `train.begin`.

    Raises:
        LinftuiError: it cannot be started, or the network it has loaded cannot be certified.
    """
    _prepare(plan, report, progress)
    logs = begin_certification(plan.paths, plan.launch, plan.request)
    while (own := _progress(plan.paths, logs)) is not None and own.state == "running":
        if own.certificates:
            return
        time.sleep(0.1)
    if own is not None and own.refused:
        raise CertificationError(own.error)


def attend(plan: CertifyPlan, report: Report = silent, progress: "Progress | None" = None) -> Certification:
    """Starts a certification that ends with this process; otherwise as `begin`."""
    _prepare(plan, report, progress)
    return Certification(plan.paths, plan.launch, plan.request)


def _prepare(plan: CertifyPlan, report: Report, progress: "Progress | None") -> None:
    fetch_for(read_recipe(plan.paths).data, report, progress)
    report(f"certifying {plan.paths.id}")
    _refuse_what_goes_on(plan.paths, plan.request)  # another may have started during the download


def _refuse_what_goes_on(paths: RunPaths, request: CertifyRequest) -> None:
    """Raises UsageError if all the requested certificates are already being made."""
    running = [found for found in certifications(paths) if found.state == "running"]
    if running and _claims(paths, request) <= set[str]().union(*(_made_by(paths, each) for each in running)):
        checkpoint = choose_checkpoint(paths, request.checkpoint)
        folder = "" if checkpoint is None else checkpoint.root.name
        raise UsageError(
            f"this certification of {folder} is already running",
            "wait for it to finish, or stop it with ctrl+s in the dashboard",
        )


def _made_by(paths: RunPaths, certification: CertificationProgress) -> set[str]:
    """Names of the certificates a certification makes; while it loads, of those it was asked for."""
    if certification.certificates:
        return {certificate.root.name for certificate, _ in certification.certificates}
    with contextlib.suppress(LinftuiError, ValueError):
        request = read_record(certification.logs.request, CertifyRequest)
        return set() if request is None else _claims(paths, request)
    return set()


def _claims(paths: RunPaths, request: CertifyRequest) -> set[str]:
    """Names of the requested certificates."""
    checkpoint, facts = choose_checkpoint(paths, request.checkpoint), read_recipe(paths).data.facts
    folder = "" if checkpoint is None else checkpoint.root.name
    first = request.limit
    if first is not None and first >= len(facts.test_images):
        first = None
    return {certificate_name(folder, parse_radius(eps), request.means, first) for eps in request.eps}


def _progress(paths: RunPaths, logs: CertifyLogPaths) -> CertificationProgress | None:
    """The progress of this certification; None if its logs were removed."""
    return next((found for found in certifications(paths) if found.logs == logs), None)


def stop(paths: RunPaths) -> None:
    """Asks the running certifications of a run to stop after their current batch. Raises LinftuiError."""
    running = [found.logs for found in certifications(paths) if found.state == "running"]
    if not running:
        raise UsageError(f"no certification of {paths.id} is running any more")
    for logs in running:
        stop_certification(paths, logs)
