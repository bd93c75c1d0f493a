"""Certificates as files: what they say, that they add up, are whole or not there, and keep to one claim."""

import copy
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from msgspec import structs
from safetensors.torch import load_file

from linftui.certify import certifier
from linftui.certify.certifier import certify, certify_batch
from linftui.certify.curve import CURVE_POINTS
from linftui.certify.draft import StoppedEarly
from linftui.certify.picture import draw_curve
from linftui.certify.subject import Subject, load_subject
from linftui.checkpoint import load_checkpoint, sha256_of
from linftui.errors import CheckpointError, DataError, RunDirectoryError
from linftui.ops import backend_name
from linftui.rundir.checkpoints import complete_checkpoints
from linftui.rundir.fence import HeldFolder
from linftui.rundir.paths import CertificatePaths, RunPaths
from linftui.rundir.reader import read_all, read_record
from linftui.rundir.records import CertificateSummary, EvalRecord, SampleRecord, decoder
from linftui.rundir.writer import write_record

CPU = torch.device("cpu")
EPS = Fraction(1, 10)


def never() -> bool:
    return False


def after(looks: int) -> Callable[[], bool]:
    """Asks to stop once it was looked at so many times."""
    answers = iter([False] * looks)
    return lambda: next(answers, True)


def samples_of(certificate: CertificatePaths) -> list[SampleRecord]:
    return [decoder(SampleRecord)(line) for line in certificate.samples.read_bytes().splitlines()]


def timeless(summary: CertificateSummary | None) -> CertificateSummary:
    assert summary is not None
    return structs.replace(summary, seconds=0.0, images_per_s=0.0, created=0.0)


def moved_to(folder: Path, subject: Subject) -> Subject:
    """The same to be certified into another, empty run directory."""
    folder.mkdir(parents=True)
    return replace(subject, paths=RunPaths(folder), folder=HeldFolder(folder))


@pytest.fixture
def subject(trained: Subject, tmp_path: Path) -> Subject:
    """The trained net, with a run directory of the test's own to certify into."""
    return moved_to(tmp_path / "trained-run", trained)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a second each, and test_report.py looks at them."""
    monkeypatch.setattr(certifier, "draw_curve", lambda summary, certificate: "")


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certifier, "BATCH", 50)


class TestSummary:
    def test_it_names_everything_that_the_claim_rests_on(self, subject: Subject) -> None:
        summary = certify(subject, Fraction(8, 255), never)
        assert (summary.run, summary.checkpoint, summary.step) == ("trained-run", "step-00000360", 360)
        assert (summary.eps, summary.eps_exact) == (8 / 255, "8/255")
        assert (summary.split, summary.means, summary.p) == ("test", "running", float("inf"))
        assert summary.model_sha256 == subject.checkpoint.record.sha256["model.safetensors"]
        assert summary.data_sha256 == subject.dataset.sha256
        assert (summary.backend, summary.device) == (backend_name(), "cpu")
        assert "outward" in summary.rounding and set(summary.versions) == {"linftui", "torch"}
        assert (summary.complete, summary.n, summary.total, summary.pgd_accuracy) == (True, 360, 360, None)

    def test_it_is_on_disk_as_it_was_returned_with_samples_and_pictures_beside_it(
        self, subject: Subject, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(certifier, "draw_curve", draw_curve)
        summary = certify(subject, EPS, never)
        certificate = subject.certificate(EPS)
        assert read_record(certificate.summary, CertificateSummary) == summary
        files = {path.name for path in certificate.root.iterdir()}
        assert files == {"summary.json", "samples.jsonl", "curve.png", "curve.svg"}

    def test_its_counts_are_those_of_the_samples_in_all_and_a_class(self, subject: Subject) -> None:
        summary, samples = certify(subject, EPS, never), samples_of(subject.certificate(EPS))
        clean = [sample.label for sample in samples if sample.prediction == sample.label]
        certified = [sample.label for sample in samples if sample.certified]
        assert summary.clean_accuracy == len(clean) / 360
        assert summary.certified_accuracy == len(certified) / 360
        for of_class, (label, n) in zip(
            summary.per_class, sorted(Counter(sample.label for sample in samples).items()), strict=True
        ):
            counted = (of_class.label, of_class.n, of_class.clean, of_class.certified)
            assert counted == (label, n, clean.count(label), certified.count(label))

    def test_the_samples_are_the_verdicts_image_by_image(self, subject: Subject) -> None:
        certify(subject, EPS, never)
        images = subject.images
        verdicts = certify_batch(subject.net, images.images, images.labels, EPS, 16)
        for row, sample in enumerate(samples_of(subject.certificate(EPS))):
            assert (sample.index, sample.label) == (int(images.indices[row]), int(images.labels[row]))
            assert (sample.certified, sample.margin) == (
                bool(verdicts.certified[row]),
                float(verdicts.margin[row]),
            )
            assert sample.prediction == (int(verdicts.prediction[row]) if verdicts.strict[row] else None)

    @pytest.mark.parametrize("means", ["running", "re-estimated"])
    @pytest.mark.parametrize("step", [180, 360])
    def test_it_says_just_what_the_evaluation_in_training_said(
        self, trained_run: RunPaths, tmp_path: Path, means: str, step: int
    ) -> None:
        (record,) = [
            record
            for record in read_all(trained_run)
            if isinstance(record, EvalRecord) and (record.step, record.means) == (step, means)
        ]
        subject, _ = load_subject(trained_run, str(step), means, None, CPU)
        summary = certify(moved_to(tmp_path / "run", subject), EPS, never)
        assert summary.clean_accuracy == record.clean_accuracy
        assert summary.certified_accuracy == record.certified_accuracy
        assert (summary.n, summary.eps, summary.means) == (record.n, record.eps, record.means)

    @pytest.mark.usefixtures("small_batches")
    def test_a_net_that_is_not_finite_is_counted_as_such(self, subject: Subject) -> None:
        broken = replace(subject, net=copy.deepcopy(subject.net))
        broken.net.last.bias.data[3] = torch.nan
        summary = certify(broken, EPS, never)
        assert (summary.non_finite, summary.clean_accuracy, summary.certified_accuracy) == (360, 0, 0)
        assert all(radius >= 0 and share == 0 for radius, share in summary.curve)
        sample = samples_of(subject.certificate(EPS))[0]
        assert sample.prediction is None and sample.margin != sample.margin


class TestCurve:
    def test_it_falls_from_eps_0_to_twice_eps_through_the_headline(self, subject: Subject) -> None:
        summary = certify(subject, EPS, never)
        radii, shares = zip(*summary.curve, strict=True)
        assert radii == tuple(float(EPS * k / CURVE_POINTS) for k in range(2 * CURVE_POINTS + 1))
        assert list(shares) == sorted(shares, reverse=True) and len(set(shares)) > 5
        assert shares[0] <= summary.clean_accuracy
        assert summary.curve[CURVE_POINTS] == (float(EPS), summary.certified_accuracy)

    def test_each_of_its_points_is_what_a_certificate_of_that_radius_says(self, subject: Subject) -> None:
        curve, images = certify(subject, EPS, never).curve, subject.images
        for k, (_, share) in enumerate(curve):
            radius = EPS * k / CURVE_POINTS
            verdicts = certify_batch(subject.net, images.images, images.labels, radius, 16)
            assert share == int(verdicts.certified.sum()) / 360

    @pytest.mark.parametrize(("eps", "last"), [("0", 0.0), ("3/4", 63 / 64), ("1", 1.0), ("3", 3.0)])
    def test_it_ends_where_the_box_is_the_whole_cube_but_not_before_eps(
        self, subject: Subject, eps: str, last: float
    ) -> None:
        summary, images = certify(subject, Fraction(eps), never), subject.images
        assert summary.curve[-1][0] == last
        assert summary.curve[CURVE_POINTS] == (float(Fraction(eps)), summary.certified_accuracy)
        nothing_moves = certify_batch(subject.net, images.images, images.labels, Fraction(0), 16)
        assert summary.curve[0] == (0.0, int(nothing_moves.certified.sum()) / 360)


@pytest.mark.usefixtures("small_batches")
class TestWhole:
    """8 batches of 50 are looked at, and then those of the curve."""

    @pytest.mark.parametrize("looks", [0, 1, 7, 8, 12])
    def test_a_certification_that_is_stopped_leaves_nothing_and_takes_nothing_over(
        self, subject: Subject, tmp_path: Path, looks: int
    ) -> None:
        whole = moved_to(tmp_path / "whole" / "trained-run", subject)
        expected = certify(whole, EPS, never)
        with pytest.raises(StoppedEarly):
            certify(subject, EPS, after(looks))
        assert list(subject.paths.certificates.iterdir()) == []
        assert timeless(certify(subject, EPS, never)) == timeless(expected)
        there, here = whole.certificate(EPS), subject.certificate(EPS)
        assert here.samples.read_bytes() == there.samples.read_bytes()

    def test_an_earlier_certificate_stays_until_the_new_one_is_whole(self, subject: Subject) -> None:
        first = certify(subject, EPS, never)
        with pytest.raises(StoppedEarly):
            certify(subject, EPS, after(3))
        assert read_record(subject.certificate(EPS).summary, CertificateSummary) == first
        again = certify(subject, EPS, never)
        assert again.created > first.created and timeless(again) == timeless(first)
        assert [path.name for path in subject.paths.certificates.iterdir()] == ["step-00000360-eps-0.1"]

    def test_what_a_killed_process_left_is_removed_a_day_later(self, subject: Subject) -> None:
        old, new = (subject.paths.certificates / f".step-00000360-eps-0.1.{n}-1.draft" for n in (1, 2))
        other = subject.paths.certificates / ".step-00000360-eps-0.12.1-1.draft"
        for folder in (old, new, other):
            folder.mkdir(parents=True)
            (folder / "samples.jsonl").touch()
        for folder in (old, other):
            os.utime(folder, (0, 0))
        certify(subject, EPS, never)
        left = {path.name for path in subject.paths.certificates.iterdir()}
        assert left == {other.name, new.name, "step-00000360-eps-0.1"}

    def test_a_certificate_that_a_killed_process_could_not_name_any_more_is_there_again(
        self, subject: Subject
    ) -> None:
        """Where a file system cannot exchange folders, a certificate has for a moment another name."""
        first = certify(subject, EPS, never)
        final = subject.certificate(EPS).root
        final.rename(final.with_name(f".{final.name}.successor"))
        with pytest.raises(StoppedEarly):
            certify(subject, EPS, after(0))
        assert read_record(subject.certificate(EPS).summary, CertificateSummary) == first
        assert os.listdir(subject.paths.certificates) == [final.name]

    def test_a_forged_certificate_is_no_part_of_a_new_one(self, subject: Subject) -> None:
        honest = certify(subject, EPS, never)
        certificate = subject.certificate(EPS)
        forged = certificate.samples.read_bytes().replace(b'"certified":false', b'"certified":true')
        certificate.samples.write_bytes(forged)
        write_record(certificate.summary, structs.replace(honest, complete=False))
        assert timeless(certify(subject, EPS, never)) == timeless(honest)
        assert certificate.samples.read_bytes() != forged

    def test_progress_can_be_watched_in_the_draft(
        self, subject: Subject, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(certifier, "UPDATE_S", 0.0)
        seen = []

        def watching() -> bool:
            early = read_record(subject.draft(EPS).summary, CertificateSummary)
            seen.append(early.n if early else 0)
            return False

        certify(subject, EPS, watching)
        assert seen[:8] == [0, 50, 100, 150, 200, 250, 300, 350] and set(seen[8:]) == {360}

    def test_re_estimated_means_leave_the_network_they_are_about(
        self, trained_run: RunPaths, tmp_path: Path
    ) -> None:
        subject, _ = load_subject(trained_run, "180", "re-estimated", 50, CPU)
        subject = moved_to(tmp_path / "run", subject)
        summary = certify(subject, EPS, never)
        saved, plain = subject.certificate(EPS).model, subject.checkpoint.paths.model
        assert summary.model_sha256 == sha256_of(saved) != sha256_of(plain)
        for name, tensor in load_file(saved).items():
            assert torch.equal(tensor, subject.net.state_dict()[name])


class TestSubject:
    def test_a_different_claim_has_a_different_folder(self, trained_run: RunPaths) -> None:
        names = []
        for which, means, limit in (
            ("latest", "running", None), ("180", "running", None), ("latest", "re-estimated", None),
            ("latest", "running", 10), ("latest", "running", 360), ("latest", "running", 1000),
        ):  # fmt: skip
            subject, _ = load_subject(trained_run, which, means, limit, CPU)
            names.append(subject.certificate(Fraction(8, 255)).root.name)
        assert names == [
            "step-00000360-eps-8_255", "step-00000180-eps-8_255", "step-00000360-eps-8_255-re-estimated",
            "step-00000360-eps-8_255-first-10", "step-00000360-eps-8_255", "step-00000360-eps-8_255",
        ]  # fmt: skip

    def test_a_limit_takes_the_first_images(self, trained_run: RunPaths, trained: Subject) -> None:
        subject, _ = load_subject(trained_run, "latest", "running", 10, CPU)
        assert torch.equal(subject.images.images, trained.images.images[:10])
        assert torch.equal(subject.images.indices, trained.images.indices[:10])

    def test_a_step_that_was_not_kept_is_an_error_that_names_those_that_were(
        self, trained_run: RunPaths
    ) -> None:
        with pytest.raises(CheckpointError, match="no complete checkpoint at step 7; it has: 180, 360"):
            load_subject(trained_run, "7", "running", None, CPU)

    def test_a_checkpoint_of_another_recipe_is_refused(self, trained_run: RunPaths, tmp_path: Path) -> None:
        paths = RunPaths(shutil.copytree(trained_run.root, tmp_path / "changed"))
        paths.resolved.write_text(paths.resolved.read_text().replace("seed: 0", "seed: 1"))
        with pytest.raises(CheckpointError, match="step-00000360 belongs to another recipe"):
            load_subject(paths, "latest", "running", None, CPU)

    def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
        self, trained_run: RunPaths, tmp_path: Path
    ) -> None:
        paths = RunPaths(shutil.copytree(trained_run.root, tmp_path / "damaged"))
        newest = complete_checkpoints(paths)[-1]
        newest.model.write_bytes(newest.model.read_bytes()[:-1] + b"\x00\x00")
        subject, warnings = load_subject(paths, "latest", "running", None, CPU)
        assert subject.checkpoint.record.step == 180
        assert len(warnings) == 1 and "step-00000360 is damaged" in warnings[0]

    def test_data_that_is_not_there_is_an_error(self, trained_run: RunPaths, tmp_path: Path) -> None:
        paths = RunPaths(shutil.copytree(trained_run.root, tmp_path / "elsewhere"))
        text = paths.resolved.read_text().replace("dataset: digits", "dataset: mnist")
        paths.resolved.write_text(text.replace("root: null", f"root: {tmp_path}/nowhere"))
        with pytest.raises((CheckpointError, DataError)):
            load_subject(paths, "latest", "running", None, CPU)

    def test_the_weights_are_those_of_the_checkpoint(self, trained: Subject, trained_run: RunPaths) -> None:
        loaded = load_checkpoint(complete_checkpoints(trained_run)[-1], CPU)
        for name, value in trained.net.state_dict().items():
            assert torch.equal(value, loaded.model[name])
        assert not trained.net.training


def test_a_run_that_is_replaced_while_it_is_certified_gets_no_certificate(
    subject: Subject, tmp_path: Path
) -> None:
    """Its weights are not those that are certified."""
    root = subject.paths.root

    def replaced() -> bool:
        if not (tmp_path / "moved").exists():
            root.rename(tmp_path / "moved")
            root.mkdir()
        return False

    with pytest.raises(RunDirectoryError):
        certify(subject, EPS, replaced)
    assert not list(root.rglob("*"))
