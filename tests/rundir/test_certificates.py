"""Certificates as they are on disk: those that nobody touched hold, and each way to edit one is noticed."""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from support.forgeries import FORGERIES, NAME, Forge, edit, said, samples, summary, weights

from linftui.rundir import certificates
from linftui.rundir.certificates import UNFINISHED, Certificates
from linftui.rundir.paths import RunPaths, certificate_name

NEWER, OLDEST = "step-00000036-eps-8_255", "step-00000036-eps-0.1-re-estimated-first-50"


@pytest.fixture
def run(certified_run: Path, tmp_path: Path) -> RunPaths:
    """A run with three certificates, to do with as one likes."""
    return RunPaths(Path(shutil.copytree(certified_run, tmp_path / "tiny-run")))


def problems(run: RunPaths) -> dict[str, str]:
    """What speaks against each certificate, in the order they are told."""
    return {found.paths.root.name: found.problem for found in Certificates(run).look()}


class TestVerified:
    def test_certificates_that_nobody_touched_hold_the_one_that_counts_first(self, run: RunPaths) -> None:
        assert list(problems(run).items()) == [(NAME, ""), (NEWER, ""), (OLDEST, "")]

    @pytest.mark.parametrize(
        ("eps_test", "newest", "order"),
        [
            ("0.1", OLDEST, [NAME, NEWER, OLDEST]),  # a part of the test set never comes before all of it
            ("8/255", NAME, [NEWER, NAME, OLDEST]),  # nor another radius before the one that is tested at
            ("0.2", NAME, [NAME, NEWER, OLDEST]),
            ("0.2", NEWER, [NEWER, NAME, OLDEST]),  # of equals the newest
        ],
    )
    def test_which_one_counts(self, run: RunPaths, eps_test: str, newest: str, order: list[str]) -> None:
        run.resolved.write_text(re.sub(r"test: .*", f"test: {eps_test}", run.resolved.read_text()))
        edit(run.certificate(newest).summary, created=time.time())
        assert list(problems(run)) == order
        not_it = f"not the recipe's {eps_test}"
        partial = ("first 50 of 360 images", f"at eps 0.1, {not_it}", "re-estimated means")
        assert {found.paths.root.name: found.caveats for found in Certificates(run).look()} == {
            NAME: () if eps_test == "0.1" else (f"at eps 0.1, {not_it}",),
            NEWER: () if eps_test == "8/255" else (f"at eps 8/255, {not_it}",),
            OLDEST: partial if eps_test != "0.1" else (partial[0], partial[2]),
        }

    def test_one_of_an_older_checkpoint_counts_after_one_of_the_newest(self, run: RunPaths) -> None:
        """Whenever either was made: by attempt, then by step."""
        older = run.certificate(NAME.replace("36", "24"))
        shutil.copytree(run.certificate(NAME).root, older.root)
        model = hashlib.sha256(run.checkpoint(24).model.read_bytes()).hexdigest()
        edit(older.summary, step=24, checkpoint="step-00000024", model_sha256=model, created=time.time())
        assert list(problems(run).items())[:2] == [(NAME, ""), (older.root.name, "")]
        edit(run.checkpoint(24).trainer, attempt=2)  # it was resumed from an earlier one
        assert list(problems(run).items())[:2] == [(older.root.name, ""), (NAME, "")]

    def test_of_equals_one_from_the_future_is_as_old_as_its_file(self, run: RunPaths) -> None:
        run.resolved.write_text(re.sub(r"test: .*", "test: 0.2", run.resolved.read_text()))
        edit(run.certificate(NEWER).summary, created=4e9)
        os.utime(run.certificate(NEWER).summary, (0, 3e8))
        assert list(problems(run)) == [NAME, NEWER, OLDEST]

    def test_one_with_re_estimated_means_counts_after_one_of_the_runs_own_network(
        self, run: RunPaths
    ) -> None:
        forged = run.certificate(f"{NAME}-re-estimated").root
        shutil.copytree(run.certificate(OLDEST).root, forged)
        whole = json.loads(run.certificate(NAME).summary.read_text())
        shutil.copy(run.certificate(NAME).samples, forged)
        own = json.loads((forged / "summary.json").read_text())["model_sha256"]
        (forged / "summary.json").write_text(
            json.dumps({**whole, "means": "re-estimated", "model_sha256": own, "created": 2e9})
        )
        assert list(problems(run).items()) == [(name, "") for name in (NAME, forged.name, NEWER, OLDEST)]

    def test_they_hold_in_a_copy_or_under_another_name_which_is_told(
        self, run: RunPaths, tmp_path: Path
    ) -> None:
        assert [found.other_name for found in Certificates(run).look()] == ["", "", ""]
        copy = RunPaths(run.root.rename(tmp_path / "renamed"))
        assert [(found.problem, found.other_name) for found in Certificates(copy).look()] == [
            ("", "tiny-run")
        ] * 3

    def test_they_hold_where_they_were_made_in_a_copy(self, run: RunPaths) -> None:
        summary(run="copied")(run)
        assert problems(run)[NAME] == "it is about another run, copied"
        copy = RunPaths(run.root.rename(run.root.with_name("copied")))
        assert problems(copy)[NAME] == ""

    def test_a_run_whose_own_record_is_damaged_has_its_folders_name(self, run: RunPaths) -> None:
        run.meta.write_text("{")
        assert problems(run)[NAME] == ""
        renamed = RunPaths(run.root.rename(run.root.with_name("renamed")))
        assert problems(renamed)[NAME] == "it is about another run, tiny-run"


class TestForged:
    @pytest.mark.parametrize(("forge", "reason"), FORGERIES.values(), ids=FORGERIES)
    def test_it_is_unverified_for_the_right_reason_and_told_last(
        self, run: RunPaths, forge: Forge, reason: str
    ) -> None:
        forge(run)
        found = problems(run)
        [forged] = found.keys() - {NEWER, OLDEST}
        assert found[forged].startswith(reason)
        assert next(iter(found.values())) == found[OLDEST] == ""  # it does not rest on what was edited

    def test_none_is_about_another_data_set_than_its_runs(self, run: RunPaths) -> None:
        known = Certificates(run)
        assert [found.problem for found in known.look()] == ["", "", ""]
        run.resolved.write_text(run.resolved.read_text().replace("digits", "mnist"))
        assert {found.problem for found in known.look()} == {"it is about digits, and its run is not"}
        run.resolved.unlink()
        assert {found.problem for found in known.look()} == {"its run's recipe cannot be read"}

    def test_re_estimated_means_are_a_network_of_its_own(self, run: RunPaths) -> None:
        shutil.rmtree(run.checkpoint(36).root)
        assert problems(run) == {
            OLDEST: "", NEWER: "its checkpoint is gone", NAME: "its checkpoint is gone"
        }  # fmt: skip
        own = run.certificate(OLDEST).model
        own.write_bytes(own.read_bytes()[:-1] + b"!")
        assert problems(run)[OLDEST] == "its weights have another SHA-256"
        own.unlink()
        assert problems(run)[OLDEST] == "its weights cannot be read: No such file or directory"

    def test_a_claim_about_the_first_images_is_not_one_about_all(self, run: RunPaths) -> None:
        whole = run.certificate(OLDEST.removesuffix("-first-50"))
        run.certificate(OLDEST).root.rename(whole.root)
        assert problems(run)[whole.root.name] == "its folder has the name of another claim"

    def test_what_leads_out_of_the_run_is_not_looked_at(self, run: RunPaths, tmp_path: Path) -> None:
        run.certificate(NAME).root.rename(tmp_path / NAME)
        run.certificate(NAME).root.symlink_to(tmp_path / NAME)
        assert NAME not in problems(run)
        run.certificates.rename(tmp_path / "certificates")
        run.certificates.symlink_to(tmp_path / "certificates")
        assert problems(run) == {}

    def test_a_folder_without_a_summary_is_no_certificate(self, run: RunPaths) -> None:
        run.certificate(NAME).summary.unlink()
        assert list(problems(run)) == [NEWER, OLDEST]
        assert Certificates(run).check(NAME).problem == "summary.json is missing"
        shutil.rmtree(run.certificates)
        assert problems(run) == {}


class TestAgain:
    def test_what_has_not_changed_is_not_read_again(
        self, run: RunPaths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = Certificates(run)
        first = known.look()
        monkeypatch.setattr(certificates, "open_regular", None)
        monkeypatch.setattr(certificates, "read_record", None)
        again = known.look()
        assert all(one is other for one, other in zip(first, again, strict=True))

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (summary(complete=False), "it was stopped after 360 of 360 images"),
            (lambda run: run.certificate(NAME).samples.write_bytes(b""), "its samples are not those of"),
            (lambda run: run.checkpoint(36).complete.unlink(), "its checkpoint is gone"),
            (lambda run: edit(run.checkpoint(36).trainer, step=1), "its checkpoint is damaged"),
            (lambda run: edit(run.meta, id="another"), ""),  # it has its own name still
            (lambda run: weights(run).write_bytes(b"other"), "its weights have another SHA-256"),
            (lambda run: weights(run).unlink(), "its weights cannot be read"),
        ],
    )  # fmt: skip
    def test_what_has_changed_is(
        self, run: RunPaths, change: Callable[[RunPaths], object], reason: str
    ) -> None:
        known = Certificates(run)
        known.look()
        change(run)
        [problem] = [found.problem for found in known.look() if found.paths.root.name == NAME]
        assert problem.startswith(reason) and bool(problem) == bool(reason)
        assert Certificates(run).look() == known.look()

    def test_a_certificate_that_was_removed_is_forgotten_and_a_new_one_found(self, run: RunPaths) -> None:
        known = Certificates(run)
        known.look()
        away = run.root / "away"
        run.certificate(NAME).root.rename(away)
        assert [found.paths.root.name for found in known.look()] == [NEWER, OLDEST]
        away.rename(run.certificate(NAME).root)
        assert [found.problem for found in known.look()] == ["", "", ""]

    def test_a_look_takes_as_long_as_it_may_and_the_next_goes_on(
        self, run: RunPaths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(certificates, "PIECE", 512)
        known, looks = Certificates(run), list[dict[str, str]]()
        while not looks or UNFINISHED in looks[-1].values():
            looks.append({found.paths.root.name: found.problem for found in known.look(0.0)})
            assert len(looks) < 100 and not set(looks[-1].values()) - {UNFINISHED, ""}
        assert len(looks) > 3 and set(looks[0].values()) == {UNFINISHED} and set(looks[-1].values()) == {""}

    def test_weights_that_change_while_they_are_read_are_read_from_their_beginning(
        self, run: RunPaths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(certificates, "PIECE", 512)
        known, content = Certificates(run), weights(run).read_bytes()
        weights(run).write_bytes(b"!" + content[1:])
        for _ in range(5):  # three certificates, and some pieces of the weights
            assert UNFINISHED in {found.problem for found in known.look(0.0)}
        weights(run).write_bytes(content)
        assert known.check(NAME).problem == ""


def test_a_name_says_checkpoint_radius_means_and_how_many_images() -> None:
    eps = Fraction(8, 255)
    assert certificate_name("step-00000036", eps, "running") == NEWER
    assert certificate_name("step-00000036", Fraction(1, 10), "re-estimated", 50) == OLDEST


def test_a_forgery_that_agrees_with_itself_is_not_found(run: RunPaths) -> None:
    """The verdicts are not computed again: docs/security.md says so, and must when this no longer passes."""
    lines = run.certificate(NAME).samples.read_bytes().splitlines()
    forged = [
        line.replace(b'"certified":false', b'"certified":true').replace(b'"margin":-', b'"margin":')
        if (sample := json.loads(line))["prediction"] == sample["label"] and not sample["certified"]
        else line
        for line in lines
    ]
    assert forged != lines
    samples(lambda _: forged)(run)
    clean = said(run, "clean_accuracy")
    per_class = [{**count, "certified": count["clean"]} for count in said(run, "per_class")]
    summary(certified_accuracy=clean, per_class=per_class, curve=[[0.1, clean]])(run)
    assert problems(run)[NAME] == ""
