"""A campaign against runs: whatever can die is killed, disks fill, folders move, at random moments.

    python scripts/torture.py                                   # 500 disturbances, about an hour on two cores
    python scripts/torture.py --disturbances 20 --only "rank of 2" --json

Each case disturbs a real run on real digits, looks at what is shown and who is left, and resumes it where it
ended, until the run has come to its end. It is then compared with a run that nobody disturbed. The table, and
the exit code, say what was lost: nothing should be.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pty
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from tortured import (
    NOBODY_LEFT_S,
    PATIENCE_S,
    Campaign,
    Process,
    Result,
    Tortured,
    TortureError,
    command,
    current_attempt,
    epochs_for,
    insist,
    kill,
    processes,
    wait_for,
)

from linftui.cores import usable_cores
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import ExitRecord
from linftui.rundir.state import run_state

ROUND = 20  # a run is disturbed so often, and another one is begun
CERTIFICATES = 12  # radii of one certification


@contextlib.contextmanager
def disturbed(
    campaign: Campaign, result: Result, ranks: int, n: int, folder: Path | None = None
) -> Iterator[Tortured]:
    """A run to disturb n times within; at the end it must have become what one that nobody disturbs is."""
    chance = random.Random(f"{campaign.seed} {result.case} {result.disturbances}")
    run = Tortured(campaign, result, ranks, epochs_for(n), folder or campaign.folder, chance)
    try:
        yield run
        run.finish()
    finally:
        run.close()


def kill_members(campaign: Campaign, result: Result, target: str, ranks: int, n: int) -> None:
    """Kills ranks, torchrun or the supervisor of one run."""
    with disturbed(campaign, result, ranks, n) as run:
        begun, since = run.begin(), 0
        for k in range(n):
            run.wait_for_moment(k, since)
            killed = run.kill_one(target)
            _, errors = begun.communicate(timeout=PATIENCE_S)
            if begun.returncode and not (target == "supervisor" and "did not start" in errors):
                raise TortureError(f"it cannot be resumed: {errors}")
            result.disturbances += 1
            since = current_attempt(run.paths)
            if target == "supervisor" and k % 2:  # the next attempt begins while orphans may still be saving
                begun = run.begin()
                run.wait_for_orphans(since, killed)
            else:
                run.follow_the_end(killed, lambda left: _is_right(run.paths, target, left))
                begun = run.begin()
            run.check_lines()
        begun.communicate(timeout=PATIENCE_S)


def _is_right(paths: RunPaths, target: str, before: list[Process]) -> bool:
    """Whether what a person is told is what is; `before` are the processes just before the question."""
    state = run_state(paths)
    if target != "supervisor":  # there is one who has to say how it ended
        ended = read_record(paths.exit, ExitRecord)
        return state == "crashed" and ended is not None and ended.attempt == current_attempt(paths)
    # Ranks that save without their supervisor are still running.
    return (
        bool(before) if state in ("starting", "running") else state == "crashed" and not processes(paths.root)
    )


def kill_viewers(campaign: Campaign, result: Result, n: int) -> None:
    """Kills dashboards, and commands that follow a log, beside a run that must not notice."""
    with disturbed(campaign, result, 1, n) as run:
        run.begin().communicate(timeout=PATIENCE_S)
        for k in range(n):
            pid, terminal = pty.fork()
            if pid == 0:
                os.chdir(run.folder)
                what = [] if k % 2 else ["logs", "--follow", run.paths.id]
                os.execv(sys.executable, [sys.executable, "-m", "linftui", *what])
            time.sleep(run.chance.uniform(0, 2.0))
            kill(pid)
            os.waitpid(pid, 0)
            os.close(terminal)
            result.disturbances += 1
            if run_state(run.paths) not in ("starting", "running", "finished"):
                result.wrong_states += 1
            run.check_lines()


def fill_disks(campaign: Campaign, result: Result, n: int) -> None:
    """Fills the disk of a run, and makes room again once the run has ended for it."""
    disk = Path(tempfile.mkdtemp(dir=campaign.folder))
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        result.notes.append("left out: only root can mount a file system")
        return
    try:
        with disturbed(campaign, result, 1, n, disk) as run:
            begun, since, filler = run.begin(), 0, disk / "filler"
            insist(run.paths.state.exists, "the first attempt")
            for k in range(n):
                run.wait_for_moment(k, since)
                with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                    while file.write(bytes(4096)):
                        pass
                filled = time.monotonic()
                insist(lambda: not processes(run.paths.root), "the end of a run whose disk is full")
                begun.communicate(timeout=PATIENCE_S)
                result.left_for_s = max(result.left_for_s, time.monotonic() - filled)
                run.follow_the_end(time.monotonic(), lambda left: _names_the_disk(run.paths))
                result.disturbances += 1
                since = current_attempt(run.paths)
                filler.unlink()
                begun = run.begin()
                run.check_lines()
            begun.communicate(timeout=PATIENCE_S)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _names_the_disk(paths: RunPaths) -> bool:
    ended = read_record(paths.exit, ExitRecord)
    return run_state(paths) == "failed" and ended is not None and "No space left" in ended.message


def move_folders(campaign: Campaign, result: Result, n: int) -> None:
    """Moves the folder of a run away while it trains, and back once the run has ended for it."""
    with disturbed(campaign, result, 1, n) as run:
        begun, since = run.begin(), 0
        for k in range(n):
            run.wait_for_moment(k, since)
            begun.communicate(timeout=PATIENCE_S)
            away = RunPaths(run.paths.root.rename(campaign.folder / "away"))
            moved = time.monotonic()
            if not wait_for(lambda: not processes(run.paths.root), NOBODY_LEFT_S):
                run.count_orphans(processes(run.paths.root))
            result.left_for_s = max(result.left_for_s, time.monotonic() - moved)
            result.disturbances += 1
            if run.paths.root.exists():
                result.unlike += 1
                result.notes.append("something was written where the run had been")
                shutil.rmtree(run.paths.root)
            ended = read_record(away.exit, ExitRecord)
            # A rank that was only starting dies of it in words of its own; its supervisor knows better.
            moved_away = f"{run.paths.root} was moved or removed while it trained"
            if run_state(away) != "failed" and (ended is None or ended.message != moved_away):
                result.wrong_states += 1
                result.notes.append(f"a run that was moved away has {run_state(away)}: {ended}")
            away.root.rename(run.paths.root)
            since = current_attempt(run.paths)
            begun = run.begin()
            run.check_lines()
        begun.communicate(timeout=PATIENCE_S)


def kill_certifications(campaign: Campaign, result: Result, n: int) -> None:
    """Kills certifications, or the commands that wait for them; what is called a certificate is whole."""
    chance = random.Random(f"{campaign.seed} {result.case} {result.disturbances}")
    original, _ = campaign.undisturbed(1, epochs_for(2))
    paths = RunPaths(Path(shutil.copytree(original.root, campaign.folder / "runs" / "certified")))
    radii = ",".join(f"{k}/255" for k in range(20, 20 + CERTIFICATES))

    def certify() -> subprocess.Popen[str]:
        return command("certify", paths.id, "--eps", radii, "--devices", "cpu", cwd=campaign.folder, cores=1)

    try:
        started = time.monotonic()
        if certify().wait(PATIENCE_S):
            raise TortureError("an undisturbed certification fails")
        took, expected = time.monotonic() - started, _samples(paths)
        for k in range(n):
            if k % 2:
                shutil.rmtree(paths.certificates)
                paths.certificates.mkdir()
            before, begun = _samples(paths), certify()
            time.sleep(chance.uniform(0, took))
            workers = [process.pid for process in processes(paths.root)]
            kill(workers[0] if workers and k % 4 < 2 else begun.pid)
            killed = time.monotonic()
            begun.communicate(timeout=PATIENCE_S)
            if not wait_for(lambda: not processes(paths.root), NOBODY_LEFT_S):
                result.orphans += len(processes(paths.root))
            result.left_for_s = max(result.left_for_s, time.monotonic() - killed)
            result.disturbances += 1
            result.compared += 1
            found = _samples(paths)
            if any(expected.get(name) != samples for name, samples in found.items()):
                result.unlike += 1
            if gone := before.keys() - found.keys():  # earlier ones stay until new ones are whole
                result.lost_lines += len(gone)
                result.notes.append(f"certificates are gone: {gone}")
        certify().communicate(timeout=PATIENCE_S)
        result.compared += 1
        result.unlike += _samples(paths) != expected
    finally:
        for process in processes(paths.root):
            kill(process.pid)
        shutil.rmtree(paths.root)


def _samples(paths: RunPaths) -> dict[str, str]:
    """Of each certificate, the hash of its samples; empty where it is not whole."""
    found = {}
    for folder in paths.certificates.glob("step-*"):
        whole = (folder / "summary.json").exists() and (folder / "samples.jsonl").exists()
        data = (folder / "samples.jsonl").read_bytes() if whole else b""
        found[folder.name] = hashlib.sha256(data).hexdigest()
    return found


def killer(target: str, ranks: int) -> Callable[[Campaign, Result, int], None]:
    return lambda campaign, result, n: kill_members(campaign, result, target, ranks, n)


# Each case with its share of the disturbances.
CASES: dict[str, tuple[int, Callable[[Campaign, Result, int], None]]] = {
    "rank of 1": (4, killer("rank", 1)),
    "supervisor of 1": (4, killer("supervisor", 1)),
    "rank of 2": (3, killer("rank", 2)),
    "torchrun of 2": (2, killer("torchrun", 2)),
    "supervisor of 2": (3, killer("supervisor", 2)),
    "viewer": (3, kill_viewers),
    "certification": (3, kill_certifications),
    "full disk": (1, fill_disks),
    "moved folder": (2, move_folders),
}


def torture(campaign: Campaign, case: str, disturbances: int) -> Result:
    """Disturbs as often as asked, a new run every so often."""
    result, act = Result(case), CASES[case][1]
    if case.endswith("of 2") and usable_cores() < 2:
        result.notes.append("left out: two ranks need two cores")
        return result
    while result.disturbances < disturbances:
        before = result.disturbances
        try:
            act(campaign, result, min(ROUND, disturbances - before))
        except TortureError as error:
            result.given_up += 1
            result.notes.append(str(error))
            result.disturbances += 1
        if result.disturbances == before:
            break
    return result


def show(results: list[Result]) -> None:
    """The table, and what was noticed."""
    print("| what is disturbed | times | lost lines | unreadable | orphans | wrong states (longest) | "
          "nobody left after at most | compared | unlike |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for r in results:
        print(
            f"| {r.case} | {r.disturbances} | {r.lost_lines} | {r.unreadable} | {r.orphans} | "
            f"{r.wrong_states} ({r.wrong_for_s:.1f} s) | {r.left_for_s:.1f} s | {r.compared} | {r.unlike} |"
        )
    for r in results:
        for note in r.notes:
            print(f"{r.case}: {note}")


def main() -> int:
    """Runs the campaign; 1 where something was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--disturbances", type=int, default=500, help="of all cases together")
    parser.add_argument("--only", choices=CASES, action="append", help="this case; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    options = parser.parse_args()
    shares = {case: CASES[case][0] for case in options.only or CASES}
    results = []
    with tempfile.TemporaryDirectory(prefix="linftui-torture-") as folder:
        campaign = Campaign(Path(folder).resolve(), options.seed)
        for case, share in shares.items():
            wanted = -(-options.disturbances * share // sum(shares.values()))
            results.append(torture(campaign, case, wanted))
            if not options.json:
                show(results[-1:])
                sys.stdout.flush()
    if options.json:
        print(json.dumps([{**asdict(result), "failed": result.failed} for result in results]))
    elif len(results) > 1:
        show(results)
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    sys.exit(main())
