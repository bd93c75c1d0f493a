"""What a person can ask of a run, from whichever screen: why it cannot be done, the question, the deed."""

from linftui.rundir.paths import RunPaths
from linftui.tui import operations
from linftui.tui.host import Form, Host
from linftui.tui.live.run_follower import Standing
from linftui.tui.live.run_list import RunRow


def why_not(command: str, row: RunRow | None) -> str:
    """Why a command that acts on a run cannot be done to this one now; empty where it can."""
    if command not in ("open", "stop", "resume", "certify"):
        return ""
    if row is None:
        return "there is no run under the cursor"
    state = row.summary.state
    if command == "open":
        return ""
    if state is None:
        return "the run is damaged: its panel says how"
    if command == "stop" and state == "pending":
        return "no attempt of the run has begun yet: there is nothing to stop"
    if command == "stop" and state not in ("starting", "running", "stopping"):
        return f"the run is {state}: there is nothing to stop"
    if command == "resume" and state in ("starting", "running", "stopping"):
        return f"the run is {state}: it goes on already"
    if command == "resume" and state == "finished":
        return "the run is finished: there is nothing left to train"
    return ""


def stop_label(row: RunRow | None) -> str:
    """What the key is called where a second stop is another matter than the first; else empty."""
    return "end now" if row is not None and row.summary.state == "stopping" else ""


def ask_stop(host: Host, row: RunRow | None) -> None:
    """Asks whether to stop a run; of one that is stopping, whether to end it at once."""
    if row is None:
        return
    at_once = row.summary.state == "stopping"
    if at_once:
        question, yes = f"End {row.summary.id} at once?", "end it"
        text = "Its processes are killed without saving. The last checkpoint stays."
    else:
        question, yes = f"Stop {row.summary.id}?", "stop it"
        text = "It saves a checkpoint at the next step and leaves. U goes on from there."

    def confirmed() -> None:
        host.do(
            f"{'ending' if at_once else 'stopping'} {row.summary.id}",
            lambda _: operations.stop(row.paths, at_once=at_once),
            lambda _: host.tell("asked to end at once" if at_once else "asked to stop"),
        )

    host.ask(question, text, yes, confirmed)


def ask_resume(host: Host, row: RunRow | None) -> None:
    """Asks whether to go on with a run, and says from where."""
    if row is None:
        return

    def confirmed() -> None:
        host.do(
            f"resuming {row.summary.id}",
            lambda tell: operations.resume(row.paths, tell),
            lambda attempt: host.tell(f"{row.summary.id}: attempt {attempt} has begun"),
        )

    def found(step: int | None) -> None:
        if step is None:
            question.settle("There is no checkpoint: it starts again from step 0.", "start again")
        else:
            question.settle(f"It goes on as a new attempt, from step {step:,}.", f"resume from step {step:,}")

    question = host.ask(f"Resume {row.summary.id}?", "Looking for its newest checkpoint.", "", confirmed)
    host.find_out(question, lambda: operations.resume_point(row.paths), found)


def ask_certify(host: Host, row: RunRow | None, standing: Standing | None) -> None:
    """Asks what to certify of a run, over the run's own screen, which is open where its standing is known."""
    if row is None:
        return
    if standing is None:
        host.open_run(row.paths)
    host.open_certify(row.paths, standing)


def certify(host: Host, request: operations.CertifyRequest, form: Form) -> None:
    """Begins a certification; the run's screen tells how it goes, and the form why it does not."""
    what = (request.paths.id, request.radii, request.checkpoint, request.means)
    host.do(
        " ".join(("certifying", *what)),
        lambda tell: operations.certify(request, tell),
        lambda _: host.tell("the certification has begun"),
        form.refusal(),
    )


def ask_stop_certifying(host: Host, paths: RunPaths) -> None:
    """Asks whether to stop what is being certified of a run."""

    def confirmed() -> None:
        host.do(
            f"stopping the certification of {paths.id}",
            lambda _: operations.stop_certifying(paths),
            lambda _: host.tell("the certification was asked to stop"),
        )

    text = "It stops after the batch it is at. Certificates that are whole by then are kept."
    host.ask(f"Stop certifying {paths.id}?", text, "stop it", confirmed)


def launch(host: Host, request: operations.LaunchRequest, form: Form) -> None:
    """Trains a recipe; the form gives way to the run once it has begun, and says why it does not."""

    def begun(paths: RunPaths) -> None:
        if form.is_active:
            form.dismiss()
            host.open_run(paths)
        else:
            host.tell(f"{paths.id} has begun")

    deed = " ".join(filter(None, ("starting", request.recipe, *request.overrides, request.name)))
    host.do(deed, lambda tell: operations.launch(host.store, request, tell), begun, form.refusal())
