"""A supervisor's answer to whoever started it: how the start went, as a line of its output."""

import contextlib
import os
import sys

from msgspec import DecodeError

from linftui.rundir.records import StartRecord, decoder, encode


def answer(record: StartRecord) -> None:
    """Answers whoever started this process; one that is gone by now is no error."""
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), encode(record) + b"\n")


def understand(said: bytes) -> StartRecord:
    """The answer in all that a supervisor said; without one, its last line is why it did not start."""
    lines = said.splitlines()
    for line in lines:
        with contextlib.suppress(DecodeError, UnicodeDecodeError):
            record: StartRecord = decoder(StartRecord)(line)
            return record
    last = lines[-1].decode(errors="replace") if lines else "it said nothing"
    return StartRecord(message=f"the supervisor did not start: {last}", exit_code=1)
