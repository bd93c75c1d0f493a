"""A folder of runs: names that are plain and free, runs found by what a person types, all of them listed."""

import math
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import pytest
from msgspec import structs

from linftui.errors import RunDirectoryError, RunNotFoundError, UsageError
from linftui.rundir.liveness import this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.records import ExitRecord, MetaRecord, StateRecord, TrainRecord, encode
from linftui.rundir.store import RunStore, read_meta, summarise
from linftui.rundir.tail import last_metrics
from linftui.rundir.writer import write_record

META = MetaRecord(
    id="?", created=1.0, recipe="tiny", recipe_source="tiny.yaml", recipe_hash="0f", overrides=[], argv=[],
    seed=0, epochs=3, eps_test="8/255", versions={}, git=None, host="vm", devices=["cpu"],
)  # fmt: skip
TRAIN = TrainRecord(
    attempt=1, step=15, epoch=1.25, time=0.0, loss=0.5, accuracy=0.1, certified_at_p=0.05,
    certified_at_p_train_eps=0.0, p=8.0, lam=0.1, eps=0.3, lr=0.03, scalar=1.0, images_per_s=1e4,
)  # fmt: skip


def make_run(root: Path, name: str, created: float = 1.0) -> RunPaths:
    """A run directory with nothing in it but its meta.json."""
    paths = RunPaths(root / name)
    paths.root.mkdir(parents=True)
    paths.meta.write_bytes(encode(structs.replace(META, id=name, created=created)))
    return paths


def create(store: RunStore, name: str | None = None) -> RunPaths:
    """A new run of the tiny recipe with nothing in it but its meta.json."""
    with store.creating("tiny", name) as (paths, draft):
        draft.meta.write_bytes(encode(structs.replace(META, id=paths.id)))
    return paths


class TestCreating:
    def test_an_id_is_made_of_recipe_time_and_chance(self, tmp_path: Path) -> None:
        store = RunStore(tmp_path / "some" / "runs")
        first, second = create(store), create(store)
        assert first.id != second.id
        assert re.fullmatch(r"tiny-\d{8}-\d{6}-[0-9a-f]{4}", first.id)
        assert {path.name for path in first.root.iterdir()} == {
            "checkpoints", "certificates", "control", "meta.json"
        }  # fmt: skip

    def test_a_name_is_taken_as_it_is_and_only_once(self, tmp_path: Path) -> None:
        store = RunStore(tmp_path)
        assert create(store, "my.run-1_a").root == tmp_path / "my.run-1_a"
        (tmp_path / "file").touch()
        (tmp_path / "folder").mkdir()
        (tmp_path / "link").symlink_to("nowhere")
        for taken in ("my.run-1_a", "file", "folder", "link"):
            with pytest.raises(UsageError, match=f"{taken} exists already; choose another --name"):
                create(store, taken)
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"my.run-1_a", "file", "folder", "link"} and not list((tmp_path / "folder").iterdir())

    def test_of_two_that_want_a_name_at_once_the_first_to_be_whole_has_it(self, tmp_path: Path) -> None:
        store = RunStore(tmp_path)
        with pytest.raises(UsageError, match="mine exists already"), store.creating("tiny", "mine"):
            first = create(store, "mine")
        assert store.find("mine").root == first.root and os.listdir(tmp_path) == ["mine"]

    def test_until_it_is_whole_it_is_no_run_and_has_no_name(self, tmp_path: Path) -> None:
        store = RunStore(tmp_path)
        with store.creating("tiny", "mine") as (paths, draft):
            draft.meta.write_bytes(encode(META))
            assert store.runs() == [] and not paths.root.exists()
            with pytest.raises(RunNotFoundError):
                store.find("mine")
        assert [run.root for run in store.runs()] == [paths.root]

    @pytest.mark.parametrize("error", [RunDirectoryError("full"), KeyboardInterrupt()])
    def test_what_does_not_become_whole_leaves_nothing_behind(
        self, tmp_path: Path, error: BaseException
    ) -> None:
        with pytest.raises(type(error)), RunStore(tmp_path).creating("tiny", "mine") as (_, draft):
            draft.meta.write_bytes(encode(META))
            raise error
        assert os.listdir(tmp_path) == []

    def test_a_process_that_is_killed_meanwhile_takes_no_name(self, tmp_path: Path) -> None:
        program = "import os, pathlib, sys; from linftui.rundir.store import RunStore\n"
        program += "with RunStore(pathlib.Path(sys.argv[1])).creating('tiny', 'mine') as (_, draft):\n"
        program += "    draft.meta.touch(); os.kill(os.getpid(), 9)"
        done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd="/")
        assert done.returncode == -9 and len(os.listdir(tmp_path)) == 1
        store = RunStore(tmp_path)
        assert store.runs() == [] and store.summaries() == []
        assert create(store, "mine").root == tmp_path / "mine"

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "..",
            "a/b",
            "/a",
            "a\\b",
            "../a",
            ".hidden",
            "-option",
            "a b",
            "a\n",
            "ä",
            "a\0",
            "x" * 101,
        ],
        ids=range(14),
    )
    def test_a_name_that_is_not_plain_is_refused_and_nothing_made(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(UsageError, match="is not a plain name"):
            create(RunStore(tmp_path / "runs"), name)
        assert not list(tmp_path.iterdir())

    def test_a_folder_that_cannot_be_made_is_told_in_a_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "runs").write_text("a file")
        with pytest.raises(RunDirectoryError, match="runs: cannot be written: File exists"):
            create(RunStore(tmp_path / "runs"))
        with pytest.raises(RunDirectoryError, match="cannot be written: Not a directory"):
            create(RunStore(tmp_path / "runs" / "below"))


class TestFind:
    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
        """A store with four runs, the working directory beside it."""
        for name in ("digits-1", "digits-2", "cifar-1", "digits"):
            make_run(tmp_path / "runs", name)
        (tmp_path / "runs" / "not-a-run").mkdir()
        monkeypatch.chdir(tmp_path)
        return RunStore(Path("runs"))

    @pytest.mark.parametrize(
        "name", ["cifar-1", "cifar", "c", "runs/cifar-1", "runs/cifar-1/", "./runs/cifar-1"]
    )
    def test_a_run_is_found_by_id_by_a_beginning_and_by_path(self, store: RunStore, name: str) -> None:
        assert store.find(name).root.samefile(store.root / "cifar-1")
        assert store.find(name).id == "cifar-1"

    def test_a_run_is_found_by_absolute_path_and_below_home(
        self, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert store.find(str(tmp_path / "runs" / "cifar-1")).id == "cifar-1"
        monkeypatch.setenv("HOME", str(tmp_path))
        assert store.find("~/runs/cifar-1").id == "cifar-1"

    def test_a_run_is_found_from_inside_itself(
        self, store: RunStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir("runs/cifar-1")
        (Path("checkpoints")).mkdir()
        assert store.find(".").id == "cifar-1"
        monkeypatch.chdir("checkpoints")
        assert store.find("..").id == "cifar-1"

    def test_a_whole_id_wins_over_a_beginning(self, store: RunStore) -> None:
        assert store.find("digits").id == "digits"

    def test_a_beginning_of_several_is_refused_with_their_names(self, store: RunStore) -> None:
        with pytest.raises(RunNotFoundError, match="digit could be digits, digits-1, digits-2; give more"):
            store.find("digit")

    def test_a_misspelt_name_gets_the_nearest_one(self, store: RunStore) -> None:
        with pytest.raises(RunNotFoundError, match="no run 'cifra-1' in runs; did you mean cifar-1?"):
            store.find("cifra-1")

    @pytest.mark.parametrize("name", ["", "zebra", "a~b", "\0", "x" * 5000, "not-a-run"])
    def test_an_unknown_name_is_told_where_to_look(self, store: RunStore, name: str) -> None:
        with pytest.raises(RunNotFoundError, match="linftui ls lists the runs"):
            store.find(name)

    def test_a_folder_that_is_no_run_is_told_so(self, store: RunStore) -> None:
        with pytest.raises(RunNotFoundError, match="runs/not-a-run is not a run directory"):
            store.find("runs/not-a-run")

    def test_a_symlink_is_no_run(self, store: RunStore) -> None:
        (store.root / "link").symlink_to("cifar-1")
        assert "link" not in {run.id for run in store.runs()}
        with pytest.raises(RunNotFoundError):
            store.find("link")

    @pytest.mark.parametrize("name", ["cifar-1", "digits", "runs/cifar-1", "./runs/cifar-1/"])
    def test_what_is_named_exactly_is_found_exactly(self, store: RunStore, name: str) -> None:
        assert store.find_exactly(name).root.samefile(store.find(name).root)

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("cifar", "no run in runs is called exactly 'cifar'; do you mean cifar-1?"),
            ("latest", "no run in runs is called exactly 'latest'; do you mean digits-2?"),
            ("digit", "digit could be digits, digits-1, digits-2; give more of the name"),
            ("zebra", "no run 'zebra' in runs"),
            ("", "no run '' in runs"),
            ("runs/not-a-run", "runs/not-a-run is not a run directory"),
        ],
    )
    def test_what_is_named_otherwise_is_not_found_exactly(
        self, store: RunStore, name: str, said: str
    ) -> None:
        with pytest.raises(RunNotFoundError) as refused:
            store.find_exactly(name)
        assert str(refused.value).startswith(said)

    def test_what_is_hidden_is_listed_nowhere_and_found_by_its_path(self, store: RunStore) -> None:
        make_run(store.root, ".gone")
        assert ".gone" not in {run.id for run in store.runs()}
        with pytest.raises(RunNotFoundError):
            store.find(".gone")
        assert store.find("runs/.gone").id == ".gone"

    def test_nothing_is_found_where_there_is_no_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = RunStore(tmp_path / "absent")
        assert store.runs() == [] and store.summaries() == []
        with pytest.raises(UsageError, match="there is no folder .*/absent"):
            store.find("a")
        store.require(new=True)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(RunNotFoundError, match="no run 'a' in runs"):  # which need not be there
            RunStore(Path("runs")).find("a")


class TestSummaries:
    def test_a_finished_run_at_a_glance(self, finished_run: Path) -> None:
        run = summarise(RunPaths(finished_run))
        assert (run.id, run.state, run.recipe, run.problem) == ("tiny-run", "finished", "tiny", "")
        assert (run.epoch, run.epochs, run.step, run.attempt) == (3, 3, 36, 1)
        assert (run.p, run.lam, run.eps, run.eps_exact) == (float("inf"), 0.001, 0.1, "0.1")
        assert run.loss is not None and 0 < run.loss < 2
        assert run.clean_accuracy is not None and run.certified_accuracy is not None
        assert 0 <= run.certified_accuracy <= run.clean_accuracy <= 1
        assert run.path == str(finished_run)

    @pytest.mark.parametrize(
        ("outcome", "accuracy", "said"),
        [
            ("finished", 0.1, "at chance level: clean accuracy 0.1000 at p = inf"),
            ("finished", 0.9, ""),
            ("stopped", 0.1, ""),  # it may learn yet
        ],
    )
    def test_a_run_that_finished_at_chance_level_says_so(
        self,
        finished_run: Path,
        tmp_path: Path,
        outcome: Literal["finished", "stopped"],
        accuracy: float,
        said: str,
    ) -> None:
        paths = RunPaths(shutil.copytree(finished_run, tmp_path / "run"))
        write_record(paths.exit, ExitRecord(attempt=1, outcome=outcome, code=0, time=0.0))
        last = last_metrics(paths.metrics)[1]
        assert last is not None
        with paths.metrics.open("ab") as metrics:
            metrics.write(
                encode(structs.replace(last, clean_accuracy=accuracy, certified_accuracy=0.1)) + b"\n"
            )
        assert summarise(paths).caution.startswith(said) and bool(summarise(paths).caution) == bool(said)

    def test_a_new_run_has_no_figures_yet(self, tmp_path: Path) -> None:
        run = summarise(make_run(tmp_path, "new"))
        assert (run.state, run.recipe, run.epochs, run.eps_exact) == ("pending", "tiny", 3, "8/255")
        assert (run.epoch, run.step, run.p, run.loss, run.clean_accuracy, run.attempt) == (None,) * 6

    def test_the_newest_comes_first(self, tmp_path: Path) -> None:
        for name, created in (("b", 2.0), ("c", 3.0), ("a", 2.0)):
            make_run(tmp_path, name, created)
        assert [run.id for run in RunStore(tmp_path).summaries()] == ["c", "b", "a"]

    @pytest.mark.parametrize("created", [4e9, math.inf, math.nan, -1.0])
    def test_one_from_the_future_is_as_old_as_its_file(self, tmp_path: Path, created: float) -> None:
        """A clock was wrong, or somebody wants it to be the newest for ever."""
        make_run(tmp_path, "newer", time.time() - 100)
        paths = make_run(tmp_path, "odd", created)
        os.utime(paths.meta, (0, 3e8))
        assert [(run.id, run.created) for run in RunStore(tmp_path).summaries()][1:] == [("odd", 3e8)]
        assert RunStore(tmp_path).find("latest").id == "newer"
        os.utime(paths.meta, (0, 4e9))
        assert [(run.id, run.created) for run in RunStore(tmp_path).summaries()][1:] == [("odd", None)]

    @pytest.mark.parametrize(
        ("file", "data", "problem"),
        [
            ("meta.json", b"", "meta.json: cannot be read"),
            ("meta.json", b'{"v":99}', "meta.json: cannot be read"),
            ("meta.json", encode(structs.replace(META, eps_test="a lot")), "eps_test must be a fraction"),
            ("meta.json", encode(structs.replace(META, eps_test="1/0")), "eps_test must be a fraction"),
            ("state.json", b"[]", "state.json: cannot be read"),
            ("state.json", b'{"x":' * 99_999, "state.json: cannot be read"),
            ("exit.json", b"\xff", "exit.json: cannot be read"),
        ],
        ids=range(7),
    )
    def test_a_damaged_run_is_listed_with_its_problem(
        self, finished_run: Path, tmp_path: Path, file: str, data: bytes, problem: str
    ) -> None:
        shutil.copytree(finished_run, tmp_path / "damaged")
        (tmp_path / "damaged" / file).write_bytes(data)
        make_run(tmp_path, "good")
        damaged, good = sorted(RunStore(tmp_path).summaries(), key=lambda run: run.id)
        assert damaged.state is None and problem in damaged.problem
        assert damaged.step == 36
        assert (good.state, good.problem) == ("pending", "")

    def test_figures_that_are_no_numbers_do_not_break_the_list(self, tmp_path: Path) -> None:
        paths = make_run(tmp_path, "a")
        paths.metrics.write_bytes(
            encode(structs.replace(TRAIN, epoch=float("inf"), loss=float("nan"))) + b"\n"
        )
        run = summarise(paths)
        assert (run.epoch, run.step, str(run.loss)) == (None, 15, "nan")

    def test_a_missing_meta_json_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(RunDirectoryError, match="meta.json is missing"):
            read_meta(RunPaths(tmp_path))

    def test_a_thousand_runs_can_be_listed(self, tmp_path: Path) -> None:
        state = StateRecord(
            attempt=1, phase="running", host=this_host(), members=[], devices=["cpu"], threads=1, time=0.0
        )
        ended = ExitRecord(attempt=1, outcome="finished", code=0, time=0.0)
        for n in range(1000):
            paths = make_run(tmp_path, f"run-{n:04d}", float(n))
            paths.state.write_bytes(encode(state))
            if n % 2:
                paths.exit.write_bytes(encode(ended))
            paths.metrics.write_bytes(encode(structs.replace(TRAIN, step=n)) + b"\n")
        runs = RunStore(tmp_path).summaries()
        assert [run.step for run in runs] == list(range(999, -1, -1))
        assert [run.state for run in runs] == ["finished", "crashed"] * 500
        assert os.path.samefile(runs[0].path, tmp_path / "run-0999")
