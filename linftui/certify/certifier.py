"""Certifying a run: one pass over the test set for each radius, and files that hold the claim.

Samples are appended batch by batch and summary.json is updated on the way, in a draft beside the other
certificates, so progress can be watched from the run directory; a certificate is complete or not there.
"""

import contextlib
import time
from collections.abc import Callable
from fractions import Fraction
from importlib.metadata import version

from jaxtyping import Int, UInt8
from msgspec import structs
from torch import Tensor

from linftui import __version__
from linftui.certify.conditions import ROUNDING, check_conditions
from linftui.certify.curve import certified_curve
from linftui.certify.draft import StoppedEarly, drafted
from linftui.certify.picture import draw_curve
from linftui.certify.subject import Subject
from linftui.checkpoint import save_tensors, sha256_of
from linftui.errors import CertificationError
from linftui.nn.net import Net
from linftui.nn.verdicts import Verdicts, verdicts
from linftui.ops import backend_name
from linftui.recipe.fraction import format_fraction
from linftui.rundir.paths import CertificatePaths
from linftui.rundir.records import CertificateSummary, ClassCount, SampleRecord, encode
from linftui.rundir.writer import LineAppender, write_record

BATCH = 512
UPDATE_S = 0.5  # seconds between updates of summary.json


def certify(
    subject: Subject,
    eps: Fraction,
    should_stop: Callable[[], bool],
    warn: Callable[[str], object] = print,
) -> CertificateSummary:
    """Certifies every image at one radius and draws the curve, in a draft that is published once complete.

    Every verdict is computed in this call: anyone may have written a file in a run directory, so none is
    taken from an earlier, interrupted pass. An earlier certificate stays until the new one is published.
    A certificate is complete without its picture; `warn` is called if that could not be drawn.

    Raises:
        StoppedEarly: it was asked to stop; the draft is discarded.
        CertificationError: a condition of the theorem does not hold.
        RunDirectoryError: the run was moved or removed, or cannot be written.
    """
    with drafted(subject, eps) as draft:
        summary = _empty_summary(subject, eps)
        if subject.means != "running":
            save_tensors(draft.model, subject.net.state_dict())
            summary = structs.replace(summary, model_sha256=sha256_of(draft.model))
        summary, samples = _pass_over_images(subject, eps, draft, summary, should_stop)
        curve = certified_curve(subject, eps, samples, should_stop)
        check_conditions(subject.net, subject.device)  # something may have been loaded since
        summary = structs.replace(summary, curve=curve, complete=True)
        if problem := draw_curve(summary, draft):
            warn(problem)
        write_record(draft.summary, summary)
    return summary


def _pass_over_images(
    subject: Subject,
    eps: Fraction,
    draft: CertificatePaths,
    summary: CertificateSummary,
    should_stop: Callable[[], bool],
) -> tuple[CertificateSummary, list[SampleRecord]]:
    """The pass itself: a verdict for every image, appended batch by batch, and the summary, updated."""
    images, done, non_finite = subject.images, list[SampleRecord](), 0
    started, updated = time.monotonic(), 0.0
    with contextlib.closing(LineAppender(draft.samples)) as samples:
        for rows in map(slice, range(0, summary.total, BATCH), range(BATCH, summary.total + BATCH, BATCH)):
            subject.folder.check()
            if should_stop():
                raise StoppedEarly(f"stopped after {len(done):,} of {summary.total:,} images")
            result = certify_batch(
                subject.net, images.images[rows], images.labels[rows], eps, subject.dataset.levels
            )
            non_finite += int((~result.finite).sum())
            batch = _sample_records(images.indices[rows], images.labels[rows], result)
            samples.append(b"\n".join(map(encode, batch)))
            done += batch
            now = time.monotonic()
            summary = _counted(summary, done, non_finite, now - started)
            if now - updated > UPDATE_S:
                write_record(draft.summary, summary)
                updated = now
        samples.sync()
    write_record(draft.summary, summary)
    return summary, done


def certify_batch(
    net: Net, images: UInt8[Tensor, "n c h w"], labels: Int[Tensor, " n"], eps: Fraction, levels: int
) -> Verdicts:
    """Certifies each image at radius eps (pixel units); pixels are exactly byte / levels.

    Raises:
        CertificationError: an image is certified but the executed network gets it wrong. The theorem rules
            that out, so it would be a bug in linftui or a fault of the machine.
    """
    result = verdicts(net, images, labels, eps, levels)
    if bool((impossible := result.certified & ~result.correct).any()):
        where = int(impossible.nonzero()[0, 0])
        raise CertificationError(
            f"image {where} of a batch is certified as class {int(labels[where])} but classified as "
            f"{int(result.prediction[where])}: please report this as a bug"
        )
    return result


def _sample_records(indices: Tensor, labels: Tensor, result: Verdicts) -> list[SampleRecord]:
    columns = (indices, labels, result.prediction, result.strict, result.certified, result.margin)
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
