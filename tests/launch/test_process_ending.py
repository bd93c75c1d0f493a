"""How a process ended that told nobody why: what its log and the kernel say comes before a guess."""

import subprocess
import sys
from pathlib import Path

import pytest

from linftui.launch.process_ending import how_it_ended

# What real programs leave as their last words, under `ulimit -v` mostly.
LAST_WORDS = {
    "cannot allocate memory for thread-local data: ABORT\n": (
        "cannot allocate memory for thread-local data: ABORT"
    ),
    "OpenBLAS error: Memory allocation still failed after 10 retries, giving up.\n": (
        "OpenBLAS error: Memory allocation still failed after 10 retries, giving up"
    ),
    "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n"
    "Fatal Python error: Aborted\n\nCurrent thread 0x00007f8549632b80 (most recent call first):\n"
    '  File "worker.py", line 409 in <module>\n': "what():  std::bad_alloc",
}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "rank-0.log"


@pytest.mark.parametrize("code", [1, 127, -6])
@pytest.mark.parametrize("said", LAST_WORDS)
def test_last_words_about_memory_are_told(log: Path, said: str, code: int) -> None:
    log.write_text("epoch 1\n" + said)
    expected = f"ran out of memory: {LAST_WORDS[said]}"
    assert how_it_ended(code, log, starved=False) == how_it_ended(None, log, starved=False) == expected


@pytest.mark.parametrize(
    ("code", "starved", "words"),
    [
        (3, False, "ended with exit code 3"),
        (-9, False, "was killed by SIGKILL, perhaps because it used too much memory"),
        (-9, True, "was killed by SIGKILL because memory ran out"),
        (-11, True, "was killed by SIGSEGV"),  # which the kernel does not use for that
        (-63, False, "was killed by signal 63"),
    ],
)
def test_without_them_the_exit_code_is_told(log: Path, code: int, starved: bool, words: str) -> None:
    assert how_it_ended(code, log, starved=starved) == words  # there is no log
    log.write_bytes(b"\xff something else\n")
    assert how_it_ended(code, log, starved=starved) == words


def test_a_limit_of_computing_time_is_named(tmp_path: Path) -> None:
    program = "from linftui.launch.process_ending import how_it_ended; from pathlib import Path; "
    program += "print(how_it_ended(-9, Path('none'), starved=False))"
    done = subprocess.run(
        ["sh", "-c", 'ulimit -t 100; exec "$0" -c "$1"', sys.executable, program],
        capture_output=True,
        text=True,
    )
    why = "perhaps because ulimit -t limits a process to 100 s of a processor"
    assert done.stdout == f"was killed by SIGKILL, {why}\n", done.stderr


def test_a_rank_that_the_kernel_killed_is_not_guessed_about(log: Path) -> None:
    assert how_it_ended(None, log, starved=True) == "was killed because memory ran out"
    assert how_it_ended(None, log, starved=False) == "died and left no message"


def test_only_the_end_of_a_log_counts(log: Path) -> None:
    log.write_text("warning: cannot allocate memory\n" + "epoch\n" * 10_000)
    assert how_it_ended(1, log, starved=False) == "ended with exit code 1"
