"""ncu's counters of the kernels at the size of the paper: of those that miss their target, or of all."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from operators import SIZES, TARGETS
from rows import arguments, conclude, tell

SAMPLE = Path(__file__).with_name("sample.py")
LIMIT_S = 32
METRICS = [
    "gpu__time_duration.sum",
    "smsp__issue_active.avg.pct_of_peak_sustained_active",
    "smsp__inst_executed.sum",
    "sm__warps_active.avg.pct_of_peak_sustained_active",
    "l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum",
    "smsp__inst_executed_pipe_xu.sum",
    "dram__bytes.sum",
]
# The kernels behind an operation of the targets.
KERNELS = {
    "inf forward": "fold_maxima",
    "inf forward + argmax": "argmax_slabs",
    "bounds": "fold_maxima",
}
GENERAL = "sum_powers|scan|gradient|finish|pack"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("report", type=Path, help="what the sections before found")
    options = parser.parse_args()
    names = kernels_that_miss(options.report)
    tell("kernels", pattern=names)
    program = shutil.which("ncu")
    if program is None:
        conclude("there is no ncu here")
        raise SystemExit(0 if options.rehearse else 1)
    command = [
        program, "--metrics", ",".join(METRICS), "--csv", "--clock-control", "none",
        "--kernel-name", f"regex:{names}", sys.executable, str(SAMPLE), "--large",
    ]  # fmt: skip
    # What it prints is kept kernel by kernel.
    done = subprocess.run(command, stderr=subprocess.STDOUT, timeout=LIMIT_S)
    conclude(f"ncu ended with {done.returncode}; its table is in the log")
    raise SystemExit(done.returncode)


def kernels_that_miss(report: Path) -> str:
    """A regular expression of kernel names; of all of them where nothing was measured or nothing missed."""
    sections = json.loads(report.read_text())["sections"] if report.is_file() else []
    rows = [row for section in sections if section["name"] == "operators" for row in section["rows"]]
    shares = {row["name"]: row.get("share") for row in rows}
    where = "[{} x {} x {}]".format(*SIZES[0])
    missed = {
        KERNELS.get(name, GENERAL)
        for name, target in TARGETS.items()
        if (share := shares.get(f"{name} {where}")) is not None and share < target
    }
    return "|".join(sorted(missed)) or "|".join(sorted({*KERNELS.values(), GENERAL}))


if __name__ == "__main__":
    main()
