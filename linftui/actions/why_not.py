"""Why a command on a run cannot be done now, in the same words wherever it is asked."""

from linftui.rundir.state import GOING_ON, State


def why_not(command: str, state: State | None, run: str = "the run", *, checkpoints: bool = True) -> str:
    """The reason; empty where it can be done, or may be tried.

    Args:
        command: "stop", "resume" or "certify"; nothing is said against any other.
        state: what the run is doing; None is enough for "certify".
        run: what it is called in the sentence.
        checkpoints: whether it has any.
    """
    if command == "stop" and state == "pending":
        return f"no attempt of {run} has begun yet: there is nothing to stop"
    if command == "stop" and state not in GOING_ON:
        return f"{run} is {state}: there is nothing to stop"
    if command == "resume" and state in GOING_ON:
        return f"{run} is {state}: it goes on already"
    if command == "resume" and state == "finished":
        return f"{run} is finished: there is nothing left to train"
    if command == "certify" and not checkpoints:
        return f"{run} has no checkpoint that could be certified"
    return ""
