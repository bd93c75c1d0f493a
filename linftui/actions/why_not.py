"""Why a command on a run is refused now, in the same words on the command line and the dashboard."""

from linftui.rundir.state import GOING_ON, State


def why_not(command: str, state: State | None, run: str = "the run", *, checkpoints: bool = True) -> str:
    """The reason; empty if the command can be done, or at least tried.

    Args:
        command: "stop", "resume" or "certify"; any other is never refused.
        state: the run's state; None will do for "certify".
        run: how the sentence names the run.
        checkpoints: whether the run has any.
    """
    if command == "stop" and state == "pending":
        return f"no attempt of {run} has begun yet: there is nothing to stop"
    if command == "stop" and state not in GOING_ON:
        return f"{run} is {state}: there is nothing to stop"
    if command == "resume" and state in GOING_ON:
        return f"{run} is {state}: there is nothing to resume"
    if command == "resume" and state == "finished":
        return f"{run} is finished: there is nothing left to train"
    if command == "certify" and not checkpoints:
        return f"{run} has no checkpoint to certify"
    return ""
