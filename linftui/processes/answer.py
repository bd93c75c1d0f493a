"""A supervisor's answer to its starter: how the start went, as a line of its output."""

import contextlib
import os
import sys

from msgspec import DecodeError

from linftui.rundir.records import StartRecord, decoder, encode


def send_answer(record: StartRecord) -> None:
    """Answers the process that started this one; it is not an error if that is gone by now."""
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), encode(record) + b"\n")


def parse_answer(output: bytes) -> StartRecord:
    """The answer in a supervisor's output; without one, the last line is why it did not start."""
    lines = output.splitlines()
    for line in lines:
        with contextlib.suppress(DecodeError, UnicodeDecodeError):
            record: StartRecord = decoder(StartRecord)(line)
            return record
    last = lines[-1].decode(errors="replace") if lines else "it printed nothing"
    return StartRecord(message=f"the supervisor did not start: {last}", exit_code=1)
