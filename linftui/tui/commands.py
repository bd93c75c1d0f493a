"""The commands on a run, from any screen: why one is refused now, what to ask first, and the task itself."""

from linftui.actions import certify as certifying
from linftui.actions import resume, train
from linftui.actions.stop import stop
from linftui.actions.telling import Report
from linftui.actions.why_not import why_not as reason
from linftui.devices import snapshot
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import CertifyRequest
from linftui.tui.host import Host, OpenForm
from linftui.tui.live.run_follower import Standing
from linftui.tui.live.run_list import RunRow


def why_not(command: str, row: RunRow | None, *, checkpoints: bool = True) -> str:
    """Why a command on this run is refused now; empty if it is not."""
    if command not in ("open", "stop", "resume", "certify"):
        return ""
    if row is None:
        return "there is no run under the cursor"
    state = row.summary.state
    if command == "open":
        return ""
    if state is None:
        return "the run is damaged: its panel says how"
    return reason(command, state, checkpoints=checkpoints)


def stop_label(row: RunRow | None) -> str:
    """The key's label where a second stop would end the run at once; otherwise empty."""
    return "end now" if row is not None and row.summary.state == "stopping" else ""


def ask_stop(host: Host, row: RunRow | None) -> None:
    """Asks whether to stop a run, or, if it is already stopping, whether to end it at once."""
    if row is None:
        return
    at_once = row.summary.state == "stopping"
    if at_once:
        question, yes = f"End {row.summary.id} at once?", "end it"
        text = "Its processes are killed without saving. The last checkpoint stays."
    else:
        question, yes = f"Stop {row.summary.id}?", "stop it"
        text = "It saves a checkpoint at the next step and exits. U resumes it from there."

    def confirmed() -> None:
        host.do(
            f"{'ending' if at_once else 'stopping'} {row.summary.id}",
            lambda _: stop(row.paths, "the dashboard", insist=at_once),
            lambda ended: host.toast("asked to end at once" if ended else "asked to stop"),
        )

    host.ask(question, text, yes, confirmed)


def ask_resume(host: Host, row: RunRow | None) -> None:
    """Asks whether to resume a run, and says from which step."""
    if row is None:
        return
    request = resume.ResumeRequest(row.paths)

    def confirmed() -> None:
        host.do(
            f"resuming {row.summary.id}",
            lambda report: resume.begin(resume.check(request), report),
            lambda attempt: host.toast(f"{row.summary.id}: attempt {attempt} has begun"),
        )

    def found(plan: resume.ResumePlan) -> None:
        warnings = "".join(f" Warning: {warning}." for warning in plan.warnings)
        if plan.step is None:
            question.settle(f"There is no checkpoint: it starts again from step 0.{warnings}", "start again")
        else:
            text = f"It continues as a new attempt, from step {plan.step:,}.{warnings}"
            question.settle(text, f"resume from step {plan.step:,}")

    question = host.ask(f"Resume {row.summary.id}?", "Looking for its newest checkpoint.", "", confirmed)
    host.find_out(question, lambda: resume.check(request), found)


def ask_certify(host: Host, row: RunRow | None, standing: Standing | None) -> None:
    """Opens the certify form on top of the run's screen; a known standing means that this screen is open."""
    if row is None:
        return
    if standing is None:
        host.open_run(row.paths)
    host.open_certify(row.paths, standing)


def certify(host: Host, paths: RunPaths, request: CertifyRequest, devices: str, form: OpenForm) -> None:
    """Starts a certification; the run's screen shows its progress, and the form shows why one is refused."""
    what = (paths.id, ", ".join(request.eps), request.checkpoint, request.means)
    host.do(
        " ".join(("certifying", *what)),
        lambda report: certifying.begin(certifying.check(paths, request, snapshot(), devices), report),
        lambda _: host.toast("the certification has begun"),
        form.refusal(),
    )


def ask_stop_certifying(host: Host, paths: RunPaths) -> None:
    """Asks whether to stop the certification of a run."""

    def confirmed() -> None:
        host.do(
            f"stopping the certification of {paths.id}",
            lambda _: certifying.stop(paths),
            lambda _: host.toast("the certification was asked to stop"),
        )

    text = "It stops after the current batch. Certificates that are complete by then are kept."
    host.ask(f"Stop certifying {paths.id}?", text, "stop it", confirmed)


def launch(host: Host, request: train.TrainRequest, form: OpenForm) -> None:
    """Trains a recipe; the run's screen replaces the form, or the form shows why it was refused."""

    def begun(paths: RunPaths) -> None:
        if form.is_active:
            form.dismiss()
            host.open_run(paths)
        else:
            host.toast(f"{paths.id} has begun")

    def begin(report: Report) -> RunPaths:
        return train.begin(host.store, train.check(host.store, request, snapshot()), report)

    task = " ".join(filter(None, ("starting", request.recipe, *request.overrides, request.name)))
    host.do(task, begin, begun, form.refusal())
