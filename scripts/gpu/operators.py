"""Every operation beside its limit and its rivals, and the targets that are met."""

from dataclasses import asdict
from pathlib import Path

from rows import arguments, conclude, gpu, tell

from linftui.bench.cuda_ops import Row, measure
from linftui.bench.rivals import load_rival

SIZES = [(512, 5120, 5120), (512, 5120, 3072), (512, 10, 5120)]
# Shares of limits at the first size.
TARGETS = {
    "inf forward": 0.75,
    "inf forward + argmax": 0.65,
    "bounds": 0.70,
    "p = 8 forward + backward": 0.70,
    **{f"p = {p:g} forward + backward": 1.0 for p in (12.0, 25.0, 37.3, 50.0, 100.0, 300.0, 1000.0)},
}
SCHEDULE_H, TIMES_A_RIVAL = 1.6, 3.0


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rival", type=Path, help="a Python file with forward(x, weight, p) and backward")
    options = parser.parse_args()
    device = gpu(options.rehearse)
    rivals = [load_rival(options.rival)] if options.rival else []
    found: dict[str, Row] = {}
    for row in measure(device, SIZES, 5, lambda what: print(what, flush=True), rivals):
        tell(**asdict(row))
        found[row.name] = row
        conclude(summary(found, options.rival.stem if options.rival else None))


def summary(found: dict[str, Row], rival: str | None) -> str:
    """What is met of the targets that were measured so far."""
    where = "[{} x {} x {}]".format(*SIZES[0])
    met, missed = 0, []
    for name, target in TARGETS.items():
        row = found.get(f"{name} {where}")
        if row is None or row.share is None:
            continue
        if row.share >= target:
            met += 1
        else:
            missed.append(f"{name} {row.share:.0%} of {target:.0%}")
    for name, row in found.items():
        ours = found.get(name.removeprefix(f"{rival}, ").replace("p = inf", "inf"))
        if rival and name.startswith(rival) and ours is not None:
            times = row.seconds / ours.seconds
            if times >= TIMES_A_RIVAL:
                met += 1
            else:
                missed.append(f"{name} only {times:.1f} times as long as ours")
    if hours := next((row.seconds / 3600 for name, row in found.items() if "epochs of it" in name), None):
        met += hours <= SCHEDULE_H
        if hours > SCHEDULE_H:
            missed.append(f"the schedule takes {hours:.2f} h of {SCHEDULE_H}")
    return f"{met} targets met" + (f"; missed: {'; '.join(missed)}" if missed else ", none missed")


if __name__ == "__main__":
    main()
