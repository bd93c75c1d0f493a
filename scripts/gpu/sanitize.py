"""compute-sanitizer over one call of every operation: memory, races, uninitialised reads."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from rows import arguments, conclude, tell

SAMPLE = Path(__file__).with_name("sample.py")
EACH_S = 20  # a tool


def main() -> None:
    rehearse = arguments(__doc__).parse_args().rehearse
    program = shutil.which("compute-sanitizer")
    if program is None:
        conclude("there is no compute-sanitizer here")
        raise SystemExit(0 if rehearse else 1)
    # Without torch's cache of memory every array is an allocation of its own, whose ends are watched.
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    states = {}
    for tool in ("memcheck", "racecheck", "initcheck"):
        command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, str(SAMPLE)]
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=EACH_S,
            )
            states[tool] = {0: "clean", 9: "errors"}.get(done.returncode, f"failed ({done.returncode})")
            output = done.stdout
        except subprocess.TimeoutExpired as error:
            states[tool] = f"cut at {EACH_S} s"
            output = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else ""
        print(output[-20_000:], flush=True)
        tell(tool, state=states[tool])
        conclude(", ".join(f"{tool} {state}" for tool, state in states.items()))
    raise SystemExit(int(any(not state.startswith(("clean", "cut")) for state in states.values())))


if __name__ == "__main__":
    main()
