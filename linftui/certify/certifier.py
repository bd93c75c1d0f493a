"""Certifying a run: a checkpoint, the test set, one pass a radius, and files that hold the claim.

Samples are appended batch by batch and summary.json is renewed as it goes, so progress can be watched from
the run directory and a certification that was stopped goes on where it was.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from typing import Literal

import torch
from msgspec import structs

from linftui import __version__
from linftui.certify.interval import ROUNDING, certify_batch, check_arithmetic, check_model
from linftui.certify.report import draw_curve
from linftui.data.datasets import Dataset, ImageSet
from linftui.errors import CheckpointError, LinftuiError
from linftui.nn.bounds import certified_margin, pixel_box
from linftui.nn.models import DistanceMLP
from linftui.ops import backend_name
from linftui.recipe.load import load_recipe, recipe_hash
from linftui.recipe.schema import Recipe, format_fraction
from linftui.rundir.paths import CertificatePaths, RunPaths
from linftui.rundir.reader import LineFollower, read_record
from linftui.rundir.records import CertificateSummary, ClassCount, SampleRecord, decoder, encode
from linftui.rundir.writer import LineAppender, write_atomic, write_record
from linftui.train.build import build_dataset, build_model
from linftui.train.checkpoint import LoadedCheckpoint, find_checkpoint, restore_model
from linftui.train.evaluate import images_for_means

Means = Literal["running", "re-estimated"]

BATCH = 512
CURVE_POINTS = 16  # from 0 to eps, and as many again beyond
RENEW_S = 0.5  # seconds between renewals of summary.json


class StoppedEarly(LinftuiError):
    """Certification was asked to stop; what is done so far is kept."""


@dataclass(frozen=True)
class Subject:
    """What is certified: the network of one checkpoint, over the first images of the test set."""

    paths: RunPaths
    recipe: Recipe
    dataset: Dataset
    checkpoint: LoadedCheckpoint
    means: Means
    model: DistanceMLP
    images: ImageSet
    limit: int | None
    device: torch.device

    def certificate(self, eps: Fraction) -> CertificatePaths:
        """Where the certificate at this radius goes; a different claim has a different folder."""
        name = f"{self.checkpoint.paths.root.name}-eps-{format_fraction(eps).replace('/', '_')}"
        name += "" if self.means == "running" else f"-{self.means}"
        name += "" if self.limit is None else f"-first-{len(self.images.labels)}"
        return self.paths.certificate(name)


def load_subject(
    paths: RunPaths, which: str, means: Means, limit: int | None, device: torch.device
) -> tuple[Subject, list[str]]:
    """Loads what is to be certified, and checks the conditions of the theorem.

    Returns:
        The subject, and warnings about damaged checkpoints that were passed over.

    Raises:
        LinftuiError: a recipe, checkpoint or data set that cannot be used, or a condition that fails.
    """
    recipe = load_recipe(paths.resolved).recipe
    checkpoint, warnings = find_checkpoint(paths, which, device)
    if checkpoint.record.recipe_hash != recipe_hash(recipe):
        raise CheckpointError(f"checkpoint {checkpoint.paths.root.name} belongs to another recipe")
    dataset = build_dataset(recipe, device)
    model = build_model(recipe, dataset, device)
    restore_model(model, checkpoint)
    if means == "re-estimated":
        model = model.with_reestimated_means(images_for_means(dataset.train), dataset.levels)
    model.eval()
    check_arithmetic(device)
    check_model(model)
    test = dataset.test
    limit = None if limit is None or limit >= len(test.labels) else limit
    images = ImageSet(test.images[:limit], test.labels[:limit], test.indices[:limit])
    return Subject(paths, recipe, dataset, checkpoint, means, model, images, limit, device), warnings


def certify(subject: Subject, eps: Fraction, should_stop: Callable[[], bool]) -> CertificateSummary:
    """Certifies every image at one radius, draws the curve, and leaves all of it in the run directory.

    Raises:
        StoppedEarly: it was asked to stop; calling it again goes on from there.
        CertificationError: a condition of the theorem does not hold.
    """
    certificate = subject.certificate(eps)
    certificate.root.mkdir(parents=True, exist_ok=True)
    summary, done = _begin(subject, certificate, eps)
    samples = LineAppender(certificate.samples)
    try:
        summary, verdicts = _pass_over_images(subject, eps, certificate, summary, done, samples, should_stop)
        samples.sync()
    finally:
        samples.close()
    curve = certified_curve(subject, eps, verdicts, should_stop)
    summary = structs.replace(summary, curve=curve, complete=True)
    draw_curve(summary, certificate)
    write_record(certificate.summary, summary)
    return summary


def _begin(
    subject: Subject, certificate: CertificatePaths, eps: Fraction
) -> tuple[CertificateSummary, list[SampleRecord]]:
    """A fresh summary, or an interrupted one of just the same claim with the samples it has."""
    fresh = _empty_summary(subject, eps)
    try:
        earlier = read_record(certificate.summary, CertificateSummary)
    except LinftuiError:
        earlier = None
    if earlier is not None and not earlier.complete and _claim(earlier) == _claim(fresh):
        done = _samples_so_far(certificate, subject.images)
        # Rewritten whole: a torn or repeated line must not end up in the middle of the file.
        write_atomic(certificate.samples, b"".join(encode(sample) + b"\n" for sample in done))
        return structs.replace(fresh, seconds=earlier.seconds), done
    write_atomic(certificate.samples, b"")
    write_record(certificate.summary, fresh)
    return fresh, []


def _claim(summary: CertificateSummary) -> tuple[object, ...]:
    """Everything that must be equal for two summaries to be about the same thing."""
    return (
        summary.model_sha256,
        summary.data_sha256,
        summary.eps_exact,
        summary.means,
        summary.total,
        summary.backend,
        summary.device,
        summary.versions,
    )


def _samples_so_far(certificate: CertificatePaths, images: ImageSet) -> list[SampleRecord]:
    follower: LineFollower[SampleRecord] = LineFollower(certificate.samples, decoder(SampleRecord))
    samples: list[SampleRecord] = []
    while more := follower.poll():
        samples += more
    expected = images.indices.tolist()
    count = 0
    while count < min(len(samples), len(expected)) and samples[count].index == expected[count]:
        count += 1
    return samples[:count]


def _pass_over_images(
    subject: Subject,
    eps: Fraction,
    certificate: CertificatePaths,
    summary: CertificateSummary,
    done: list[SampleRecord],
    samples: LineAppender,
    should_stop: Callable[[], bool],
) -> tuple[CertificateSummary, list[SampleRecord]]:
    """The pass proper: verdicts for all images that `done` does not hold yet."""
    done, earlier_s, started = list(done), summary.seconds, time.monotonic()
    first, renewed, non_finite = len(done), 0.0, sum(sample.margin != sample.margin for sample in done)
    images = subject.images
    if done:
        summary = _counted(summary, done, non_finite, earlier_s, 0, 0.0)
    for start in range(first, len(images.labels), BATCH):
        if should_stop():
            write_record(certificate.summary, summary)
            raise StoppedEarly(f"stopped after {len(done):,} of {summary.total:,} images")
        rows = slice(start, start + BATCH)
        verdicts = certify_batch(
            subject.model, images.images[rows], images.labels[rows], eps, subject.dataset.levels
        )
        non_finite += int((~verdicts.finite).sum())
        batch = [
            SampleRecord(
                index=index,
                label=label,
                prediction=prediction if strict else None,
                certified=certified,
                margin=margin,
            )
            for index, label, prediction, strict, certified, margin in zip(
                images.indices[rows].tolist(),
                images.labels[rows].tolist(),
                verdicts.prediction.tolist(),
                verdicts.strict.tolist(),
                verdicts.certified.tolist(),
                verdicts.margin.tolist(),
                strict=True,
            )
        ]
        samples.append(b"\n".join(map(encode, batch)))
        done += batch
        now = time.monotonic()
        summary = _counted(
            summary, done, non_finite, earlier_s + now - started, len(done) - first, now - started
        )
        if now - renewed > RENEW_S:
            write_record(certificate.summary, summary)
            renewed = now
    write_record(certificate.summary, summary)
    return summary, done


def _counted(
    summary: CertificateSummary,
    done: list[SampleRecord],
    non_finite: int,
    seconds: float,
    images_now: int,
    seconds_now: float,
) -> CertificateSummary:
    counts: dict[int, list[int]] = {}
    for sample in done:
        count = counts.setdefault(sample.label, [0, 0, 0])
        count[0] += 1
        count[1] += sample.prediction == sample.label
        count[2] += sample.certified
    return structs.replace(
        summary,
        n=len(done),
        clean_accuracy=sum(count[1] for count in counts.values()) / len(done),
        certified_accuracy=sum(count[2] for count in counts.values()) / len(done),
        non_finite=non_finite,
        per_class=[
            ClassCount(label=label, n=n, clean=clean, certified=certified)
            for label, (n, clean, certified) in sorted(counts.items())
        ],
        seconds=seconds,
        images_per_s=images_now / max(seconds_now, 1e-9),
    )


@torch.no_grad()
def certified_curve(
    subject: Subject, eps: Fraction, verdicts: list[SampleRecord], should_stop: Callable[[], bool]
) -> list[tuple[float, float]]:
    """Certified accuracy at radii from 0 to 2 eps (at most 1), by bisecting for each image over that grid.

    Boxes of growing radius are nested and so are their bounds, so an image certified at one radius is
    certified at every smaller one; each point of the curve is as much a theorem as the headline.
    """
    grid = [eps * k / CURVE_POINTS for k in range(2 * CURVE_POINTS + 1)]
    grid = [radius for radius in grid if radius <= max(eps, Fraction(1))]
    images, levels = subject.images, subject.dataset.levels
    certified = torch.tensor([sample.certified for sample in verdicts], device=subject.device)
    right = torch.tensor([sample.prediction == sample.label for sample in verdicts], device=subject.device)
    # `best` is certified, `worst` is not; wrong images are certified nowhere.
    best = torch.where(certified, CURVE_POINTS, -1)
    worst = torch.where(certified, len(grid), torch.where(right, CURVE_POINTS, 0))
    while bool((open_ := worst - best > 1).any()):
        middle = (best + worst) // 2
        for k in middle[open_].unique().tolist():
            for rows in (open_ & (middle == k)).nonzero()[:, 0].split(BATCH):
                if should_stop():
                    raise StoppedEarly("stopped while the curve was being computed")
                box = pixel_box(images.images[rows], grid[k], levels)
                verdict, _ = certified_margin(subject.model.bounds(box), images.labels[rows])
                best[rows] = torch.where(verdict, k, best[rows])
                worst[rows] = torch.where(verdict, worst[rows], k)
    n = len(verdicts)
    return [(float(radius), int((best >= k).sum()) / n) for k, radius in enumerate(grid)]


def _empty_summary(subject: Subject, eps: Fraction) -> CertificateSummary:
    record = subject.checkpoint.record
    return CertificateSummary(
        run=subject.paths.id,
        checkpoint=subject.checkpoint.paths.root.name,
        step=record.step,
        split="test",
        means=subject.means,
        complete=False,
        n=0,
        total=len(subject.images.labels),
        eps=float(eps),
        eps_exact=format_fraction(eps),
        p=float("inf"),
        clean_accuracy=0.0,
        certified_accuracy=0.0,
        pgd_accuracy=None,
        non_finite=0,
        per_class=[],
        curve=[],
        seconds=0.0,
        images_per_s=0.0,
        model_sha256=record.sha256[subject.checkpoint.paths.model.name],
        data_sha256=subject.dataset.sha256,
        rounding=ROUNDING,
        backend=backend_name(),
        device=str(subject.device),
        versions={"linftui": __version__, "torch": version("torch")},
        created=time.time(),
    )
