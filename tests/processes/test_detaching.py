"""A process goes on as nobody's child, and its output goes to a log of its own."""

import subprocess
import sys
import time
from pathlib import Path

FORK = "import os, sys, time; from linftui.processes.detaching import detach\n"


def test_who_was_started_leaves_once_its_child_is_ready_and_the_child_goes_on(tmp_path: Path) -> None:
    program = FORK + "first = lambda: (time.sleep(0.3), open('ready', 'w').close())\n"
    program += "started = os.getpid(); detach(first)\n"
    program += "while os.getppid() == started: time.sleep(0.01)\n"
    program += "print(os.getpid() != started, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.wait(60) == 0 and (tmp_path / "ready").exists()
        assert process.stdout is not None and process.stdout.read() == "True\n"


def test_who_was_started_fails_where_its_child_does_once_that_has_told_why(tmp_path: Path) -> None:
    program = FORK + "try: detach(lambda: 1 / 0)\n"
    program += "except ZeroDivisionError: time.sleep(0.3); open('why', 'w').close()"
    process = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, timeout=60)
    assert process.returncode == 1 and (tmp_path / "why").exists()


def test_output_goes_to_a_log_and_who_read_it_meets_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    program = "import os, sys, time; from pathlib import Path\n"
    program += "from linftui.processes.detaching import redirect_output\n"
    program += "print('reply', flush=True); redirect_output(Path(sys.argv[1]))\n"
    program += (
        "print('out', flush=True); print('err', file=sys.stderr, flush=True); os.system('echo child')\n"
    )
    program += "input()"
    command = [sys.executable, "-c", program, log]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout is not None and process.stdout.read() == "reply\n"
        assert process.poll() is None
        deadline = time.monotonic() + 30
        while log.read_text() != "before\nout\nerr\nchild\n" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert log.read_text() == "before\nout\nerr\nchild\n"
        process.communicate("\n")
