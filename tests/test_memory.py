"""Memory that runs out, for real: too much is asked for, or `ulimit -v` gives too little."""

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from linftui import memory
from linftui.errors import LinftuiError

HUGE = 1 << 50  # no machine has so much


def told(act: Callable[[], object]) -> LinftuiError | None:
    """What is said of the error that this meets."""
    try:
        act()
    except Exception as error:
        return memory.shortage(error, "use less")
    raise AssertionError("it had enough")


def wrapped(act: Callable[[], object]) -> None:
    try:
        act()
    except Exception as error:
        raise ValueError("something else") from error


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda: torch.empty(HUGE), ": another 4,194,304.0 GiB could not be allocated"),
        (lambda: torch.empty(HUGE, HUGE), ""),  # a size beyond all counting
        (lambda: np.empty(HUGE), ""),
        (lambda: bytearray(HUGE), ""),
        (lambda: [0] * (1 << 62), ""),
        (lambda: wrapped(lambda: torch.empty(HUGE)), ": another 4,194,304.0 GiB could not be allocated"),
    ],
    ids=["torch", "torch, uncountable", "numpy", "bytes", "list", "a cause"],
)
def test_asking_for_too_much_is_a_sentence(act: Callable[[], object], sentence: str) -> None:
    assert str(told(act)) == f"the process is out of memory{sentence}; use less"


@pytest.mark.parametrize(
    "words",
    [
        "libtorch_cpu.so: failed to map segment from shared object",
        "\n\nPLEASE READ\n\nOriginal error was: libgomp.so.1: cannot allocate memory in static TLS",
    ],
)
def test_a_library_that_finds_no_room_is_told_of_so(words: str) -> None:
    assert str(memory.shortage(ImportError(words))) == "the process is out of memory"


@pytest.mark.parametrize(
    "words", ["CUDA out of memory. Tried to allocate 20.00 MiB", "CUDA error: out of memory",
              "CUDA driver error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED",
              "CUDA_ERROR_OUT_OF_MEMORY: the call was unable to allocate enough memory"],
)  # fmt: skip
def test_a_gpu_is_told_apart(words: str) -> None:
    for error in (RuntimeError(words), torch.OutOfMemoryError(words)):
        assert str(memory.shortage(error, "use less")) == "the GPU is out of memory; use less"
    missing = ImportError("libtorch_cuda.so: failed to map segment from shared object")
    assert str(memory.shortage(missing)) == "the process is out of memory"


@pytest.mark.parametrize("error", [ValueError("no"), OSError(28, "No space left on device"), ImportError()])
def test_what_is_no_shortage_is_none(error: Exception) -> None:
    assert memory.shortage(error) is None


def test_what_a_process_may_have_is_told_where_it_is_limited() -> None:
    program = "from linftui import memory; print(memory.limit())"
    limits = {(): "", ("-v", 3 << 20): "ulimit -v limits a process to 3.0 GiB", ("-d", 500 << 10): (
        "ulimit -d limits a process to 500 MiB"
    )}  # fmt: skip
    for limit, words in limits.items():
        shell = f"ulimit {limit[0]} {limit[1]}; " if limit else ""
        done = subprocess.run(
            ["sh", "-c", f'{shell}exec "$0" -c "$1"', sys.executable, program], capture_output=True, text=True
        )
        assert done.stdout == f"{words}\n", done.stderr


GROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group of our own whose processes may have 150 MiB together."""
    name, octets = f"linftui-{os.getpid()}", str(150 << 20)
    old = (GROUPS / "memory").is_dir()
    group, limit = (
        (GROUPS / "memory" / name, "memory.limit_in_bytes") if old else (GROUPS / name, "memory.max")
    )
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    try:
        (group / limit).write_text(octets)
        yield group
    except OSError as error:
        pytest.skip(f"a control group cannot limit memory here: {error.strerror}")
    finally:
        while (group / "cgroup.procs").read_text():
            time.sleep(0.05)
        group.rmdir()


def join(group: Path) -> Callable[[], object]:
    """For a process that is to belong to a control group."""
    return lambda: (group / "cgroup.procs").write_text(str(os.getpid()))


def test_the_kernel_counts_whom_it_kills_for_memory(small_group: Path) -> None:
    program = """
import os
from linftui.memory import kernel_kills
before, child = kernel_kills(), os.fork()
if not child:
    kept = [bytearray(b"x" * 2**20) for _ in range(300)]
print(os.waitpid(child, 0)[1], kernel_kills() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, preexec_fn=join(small_group)
    )
    assert done.stdout == "9 1\n", done.stderr


def test_a_kill_counts_only_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    kills, now = [3], [0.0]
    monkeypatch.setattr(memory, "kernel_kills", lambda: kills[0])
    monkeypatch.setattr(memory.time, "monotonic", lambda: now[0])
    lately = memory.KernelKills(window_s=20.0)
    assert not lately.some_recently()
    kills[0] = 4
    for moment, said in ((1.0, True), (21.0, True), (30.0, True), (42.0, False), (100.0, False)):
        now[0] = moment
        lately.look()
        assert lately.some_recently() == said, moment


@pytest.mark.parametrize(
    ("group", "files", "kills"),
    [
        ("0::/user/job", {"user/job/memory.events": "low 0\noom 3\noom_kill 2\noom_group_kill 1\n"}, 2),
        ("0::/seen/from/outside", {"memory.events": "oom_kill 4\n"}, 4),  # a container's own group
        ("4:memory:/job\n0::/", {"memory/job/memory.oom_control": "under_oom 0\noom_kill 5\n"}, 5),
        ("4:memory:/job\n0::/", {"memory/job/memory.oom_control": "under_oom 0\n"}, 7),  # an old kernel's
        ("0::/", {}, 7),
    ],
)
def test_our_control_group_counts_before_the_machine(
    tmp_path: Path, group: str, files: dict[str, str], kills: int
) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(f"{group}\n")
    (proc / "vmstat").write_text("nr_free_pages 1\noom_kill 7\nunevictable 0\n")
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    assert memory.kernel_kills(proc, groups) == kills
    assert memory.kernel_kills(tmp_path / "none", groups) == 0


def fails(folder: Path, *arguments: str | Path, first: Callable[[], object] | None = None) -> str:
    """Runs a command that must fail, after something else in its process; its last sentence."""
    done = subprocess.run(
        [sys.executable, "-m", "linftui", *map(str, arguments)],
        cwd=folder, capture_output=True, text=True, timeout=120, preexec_fn=first,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr, done
    return done.stderr.splitlines()[-1]


def addresses(mebibytes: int) -> Callable[[], object]:
    """`ulimit -v`, for a process and all that it starts."""
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))


def test_a_run_and_a_certification_that_get_too_few_addresses_say_so(
    tiny_recipe: Path, finished_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "runs" / "tiny-run"))
    for command in (["run", tiny_recipe, "--name", "mine"], ["certify", run]):
        sentence = fails(tmp_path, *command, "--devices", "cpu", first=addresses(400))
        assert " out of memory" in sentence and sentence.endswith("; ulimit -v limits a process to 400 MiB")
        assert "batch_size" not in sentence or command[0] == "run"


def test_a_net_that_no_machine_has_room_for_is_told_of_with_what_to_do(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    width = ("--set", "model.width=1000000000000")
    assert fails(tmp_path, "run", tiny_recipe, "--devices", "cpu", *width) == (
        "linftui: the process is out of memory: another 238,418.6 GiB could not be allocated; "
        "use a smaller batch_size, model.width or model.depth"
    )


def test_a_run_that_its_control_group_ends_says_so(
    tiny_recipe: Path, small_group: Path, tmp_path: Path
) -> None:
    sentence = fails(tmp_path, "run", tiny_recipe, "--devices", "cpu", first=join(small_group))
    assert sentence.startswith(
        "linftui: the training process was killed by SIGKILL because memory ran out; its log is "
    )
