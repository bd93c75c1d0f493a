"""The reading half of the dashboard serves those without a terminal: nothing of one needs to be installed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

FIXTURES = Path(__file__).parents[2] / "fixtures" / "first"

FOLLOW = """
import json, queue, sys
from pathlib import Path
for blocked in ("textual", "rich", "typer", "torch"):
    sys.modules[blocked] = None

import linftui.tui.live
from linftui.rundir.paths import RunPaths
from linftui.rundir.store import RunStore
from linftui.tui.live import messages, run_model
from linftui.tui.live.poller import Poller

runs = Path(sys.argv[1])
posted = queue.Queue()
poller = Poller(RunStore(runs), posted.put)
poller.start()
following = poller.follow(RunPaths(runs / "resumed"))
poller.select(RunPaths(runs / "resumed"))
model, found = run_model.RunModel(following.paths), {}
while found.keys() < {"rows", "facts", "machine"} or model.train is None or model.train.step < 330:
    match posted.get(timeout=60):
        case messages.RunsListed(rows, True):
            found["rows"] = sorted(row.summary.id for row in rows)
        case messages.FactsRead(facts):
            found["facts"] = [facts.meta.recipe, facts.ended.outcome]
        case messages.MachineSampled(machine):
            found["machine"] = machine.cores
        case messages.RunGrew(following, news):
            model.add(news)
            following.take_more()
        case messages.PollerFailed(error):
            raise error
poller.stop()
found["state"], found["history"] = model.state, len(model.history.entries())
found["curves"] = sorted(name for name, series in model.curves.series.items() if len(series))
print(json.dumps(found))
"""


def test_a_run_is_followed_where_textual_cannot_be_imported(tmp_path: Path) -> None:
    runs = Path(shutil.copytree(FIXTURES, tmp_path / "runs"))
    done = subprocess.run([sys.executable, "-c", FOLLOW, str(runs)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["rows"] == ["crashed", "resumed", "stopped", "two-ranks", "whole"]
    assert found["facts"] == ["past", "finished"] and found["machine"] >= 1
    assert found["state"] == "finished" and found["history"] > 10
    assert {"loss", "p", "certified", "clean"} <= set(found["curves"])
