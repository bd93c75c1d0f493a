"""Certifying a run: a checkpoint, the test set, one pass a radius, and files that hold the claim.

Samples are appended batch by batch and summary.json is renewed as it goes, in a draft beside the other
certificates, so progress can be watched from the run directory; a certificate is whole or not there.
"""

import contextlib
import itertools
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.metadata import version

import torch
from msgspec import structs
from torch import Tensor

from linftui import __version__
from linftui.certify.interval import ROUNDING, Verdicts, certify_batch, check_conditions
from linftui.certify.report import draw_curve
from linftui.data.datasets import Dataset, ImageSet
from linftui.errors import CheckpointError
from linftui.nn.bounds import certified_margin, pixel_boxes
from linftui.nn.models import DistanceMLP
from linftui.ops import backend_name
from linftui.recipe.schema import format_fraction
from linftui.rundir.fence import HeldFolder
from linftui.rundir.folders import finish_replacements, replace_folder
from linftui.rundir.paths import CertificatePaths, RunPaths, certificate_name
from linftui.rundir.records import CertificateSummary, ClassCount, Means, SampleRecord, encode
from linftui.rundir.store import read_resolved
from linftui.rundir.writer import LineAppender, cannot_write, write_record
from linftui.train.build import build_dataset, build_model
from linftui.train.checkpoint import (
    LoadedCheckpoint,
    find_checkpoint,
    restore_model,
    save_tensors,
    sha256_of,
)
from linftui.train.evaluate import images_for_means

BATCH = 512
CURVE_POINTS = 16  # from 0 to eps, and as many again beyond
RENEW_S = 0.5  # seconds between renewals of summary.json
ABANDONED_S = 86400.0  # a draft that nobody has written to for so long is nobody's any more


class StoppedEarly(Exception):
    """Certification was asked to stop, and did."""


@dataclass(frozen=True)
class Subject:
    """What is certified: the network of one checkpoint, over the first images of the test set."""

    paths: RunPaths
    dataset: Dataset
    checkpoint: LoadedCheckpoint
    means: Means
    model: DistanceMLP
    images: ImageSet
    limit: int | None
    device: torch.device
    folder: HeldFolder  # of the run: a run that takes its place is not certified by these weights
    token: str = field(default_factory=lambda: f"{os.getpid()}-{time.time_ns()}")  # nobody else's

    def certificate(self, eps: Fraction) -> CertificatePaths:
        """Where the certificate at this radius goes; a different claim has a different folder."""
        first = None if self.limit is None else len(self.images.labels)
        return self.paths.certificate(
            certificate_name(self.checkpoint.paths.root.name, eps, self.means, first)
        )

    def draft(self, eps: Fraction) -> CertificatePaths:
        """Where this process makes it."""
        return self.paths.certificate(f".{self.certificate(eps).root.name}.{self.token}.draft")


def load_subject(
    paths: RunPaths, which: str, means: Means, limit: int | None, device: torch.device
) -> tuple[Subject, list[str]]:
    """Loads what is to be certified, and checks the conditions of the theorem.

    Returns:
        The subject, and warnings about damaged checkpoints that were passed over.

    Raises:
        LinftuiError: a recipe, checkpoint or data set that cannot be used, or a condition that fails.
    """
    folder = HeldFolder(paths.root)
    resolved = read_resolved(paths)
    recipe = resolved.recipe
    dataset = build_dataset(recipe, device)
    model = build_model(recipe, dataset, device)
    checkpoint, warnings = find_checkpoint(paths, which, device, model)
    if checkpoint.record.recipe_hash != resolved.hash:
        raise CheckpointError(f"checkpoint {checkpoint.paths.root.name} belongs to another recipe")
    restore_model(model, checkpoint)
    if means == "re-estimated":
        model = model.with_reestimated_means(images_for_means(dataset.train), dataset.levels)
    model.eval()
    check_conditions(model, device)
    test = dataset.test
    limit = None if limit is None or limit >= len(test.labels) else limit
    images = ImageSet(test.images[:limit], test.labels[:limit], test.indices[:limit])
    return Subject(paths, dataset, checkpoint, means, model, images, limit, device, folder), warnings


def certify(
    subject: Subject,
    eps: Fraction,
    should_stop: Callable[[], bool],
    warn: Callable[[str], object] = print,
) -> CertificateSummary:
    """Certifies every image at one radius and draws the curve, in a draft that is published once it is whole.

    Every verdict is computed here and now: a file in a run directory may have been written by anyone, so
    none is taken over from an earlier, interrupted pass, and an earlier certificate stays until then.
    A certificate is whole without its picture; `warn` is told where that could not be drawn.

    Raises:
        StoppedEarly: it was asked to stop; the draft is discarded.
        CertificationError: a condition of the theorem does not hold.
        RunDirectoryError: the run was moved or removed, or cannot be written.
    """
    subject.folder.check()
    draft, final = subject.draft(eps), subject.certificate(eps)
    try:
        final.root.parent.mkdir(exist_ok=True)
        draft.root.mkdir()
        _tidy_up(final)
        summary = _empty_summary(subject, eps)
        if subject.means != "running":
            save_tensors(draft.model, subject.model.state_dict())
            summary = structs.replace(summary, model_sha256=sha256_of(draft.model))
        summary, verdicts = _pass_over_images(subject, eps, draft, summary, should_stop)
        curve = certified_curve(subject, eps, verdicts, should_stop)
        check_conditions(subject.model, subject.device)  # something may have been loaded since
        summary = structs.replace(summary, curve=curve, complete=True)
        if problem := draw_curve(summary, draft):
            warn(problem)
        write_record(draft.summary, summary)
        subject.folder.check()
        replace_folder(draft.root, final.root)
    except OSError as error:
        raise cannot_write(final.root, error) from error
    finally:
        shutil.rmtree(draft.root, ignore_errors=True)
    return summary


def _tidy_up(final: CertificatePaths) -> None:
    """Removes what processes that were killed have left of this certificate, and ends what they began."""
    finish_replacements(final.root.parent)
    for left in final.root.parent.glob(f".{final.root.name}.*.draft"):
        with contextlib.suppress(OSError):  # its owner may be alive, and finish it just now
            if time.time() - left.lstat().st_mtime > ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)


def _pass_over_images(
    subject: Subject,
    eps: Fraction,
    draft: CertificatePaths,
    summary: CertificateSummary,
    should_stop: Callable[[], bool],
) -> tuple[CertificateSummary, list[SampleRecord]]:
    """The pass proper: a verdict for every image, appended batch by batch, the summary renewed beside."""
    images, done, non_finite = subject.images, list[SampleRecord](), 0
    started, renewed = time.monotonic(), 0.0
    with contextlib.closing(LineAppender(draft.samples)) as samples:
        for rows in map(slice, range(0, summary.total, BATCH), range(BATCH, summary.total + BATCH, BATCH)):
            subject.folder.check()
            if should_stop():
                raise StoppedEarly(f"stopped after {len(done):,} of {summary.total:,} images")
            verdicts = certify_batch(
                subject.model, images.images[rows], images.labels[rows], eps, subject.dataset.levels
            )
            non_finite += int((~verdicts.finite).sum())
            batch = _sample_records(images.indices[rows], images.labels[rows], verdicts)
            samples.append(b"\n".join(map(encode, batch)))
            done += batch
            now = time.monotonic()
            summary = _counted(summary, done, non_finite, now - started)
            if now - renewed > RENEW_S:
                write_record(draft.summary, summary)
                renewed = now
        samples.sync()
    write_record(draft.summary, summary)
    return summary, done


def _sample_records(indices: Tensor, labels: Tensor, verdicts: Verdicts) -> list[SampleRecord]:
    columns = (indices, labels, verdicts.prediction, verdicts.strict, verdicts.certified, verdicts.margin)
    return [
        SampleRecord(
            index=index,
            label=label,
            prediction=prediction if strict else None,
            certified=certified,
            margin=margin,
        )
        for index, label, prediction, strict, certified, margin in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]


def _counted(
    summary: CertificateSummary, done: list[SampleRecord], non_finite: int, seconds: float
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
        images_per_s=len(done) / max(seconds, 1e-9),
    )


@torch.no_grad()
def certified_curve(
    subject: Subject, eps: Fraction, verdicts: list[SampleRecord], should_stop: Callable[[], bool]
) -> list[tuple[float, float]]:
    """Certified accuracy at radii from 0 to 2 eps (at most 1), by searching that grid for each image.

    The search begins at the radius where the margin, which shrinks by 2 / std for every unit of the radius
    in a 1-Lipschitz network, would be used up, then looks at the neighbour, then bisects.

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
    margins = torch.tensor([sample.margin for sample in verdicts], device=subject.device).nan_to_num(0.0)
    left = margins * (subject.dataset.std / 2) / max(float(eps / CURVE_POINTS), 1e-30)  # points of the grid
    middle = (CURVE_POINTS + left).clamp(0, len(grid)).floor().long()
    for round_ in itertools.count():
        if not bool((open_ := worst - best > 1).any()):
            break
        if round_ > 1:
            middle = (best + worst) // 2
        elif round_ == 1:
            middle = torch.where(best == middle, best + 1, worst - 1)
        middle = torch.minimum(torch.maximum(middle, best + 1), worst - 1)
        for rows in open_.nonzero()[:, 0].split(BATCH):
            if should_stop():
                raise StoppedEarly("stopped while the curve was being computed")
            k = middle[rows]
            boxes = pixel_boxes(images.images[rows], grid, k, levels)
            verdict, _ = certified_margin(subject.model.bounds(boxes), images.labels[rows])
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
        backend=backend_name(subject.device),
        device=str(subject.device),
        versions={"linftui": __version__, "torch": version("torch")},
        created=time.time(),
    )
