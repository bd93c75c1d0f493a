"""Why a command cannot be done: every command in every state."""

from typing import get_args

import pytest

from linftui.actions.why_not import why_not
from linftui.rundir.state import ACTIVE, GOING_ON, State


@pytest.mark.parametrize("state", get_args(State))
def test_what_goes_on_can_be_stopped_and_the_rest_resumed(state: State) -> None:
    assert (why_not("stop", state) == "") == (state in GOING_ON)
    assert (why_not("resume", state) == "") == (state not in GOING_ON and state != "finished")
    assert why_not("open", state) == why_not("certify", state) == ""
    if state not in ACTIVE:
        assert why_not("stop", state, "tiny-run") == f"tiny-run is {state}: there is nothing to stop"


def test_a_sentence_names_the_run() -> None:
    pending = "no attempt of the run has begun yet: there is nothing to stop"
    assert why_not("stop", "pending") == pending
    assert why_not("stop", "pending", "a") == pending.replace("the run", "a")
    assert why_not("certify", None, "a", checkpoints=False) == "a has no checkpoint to certify"
