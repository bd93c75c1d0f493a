"""Ways to edit a run with certificates so that one of them no longer holds, and what is said of it then."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from linftui.rundir.paths import RunPaths

NAME = "step-00000036-eps-0.1"  # the certificate that is forged

Forge = Callable[[RunPaths], object]


def edit(file: Path, **changes: Any) -> None:
    """Changes fields of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def summary(**changes: Any) -> Forge:
    """Changes fields of the certificate's summary."""
    return lambda run: edit(run.certificate(NAME).summary, **changes)


def said(run: RunPaths, field: str) -> Any:
    """What the certificate's summary says."""
    return json.loads(run.certificate(NAME).summary.read_text())[field]


def claim_eps(exact: str) -> Forge:
    """Claims the same at another radius."""
    return lambda run: summary(
        eps=float(exact), eps_exact=exact, curve=[[float(exact), said(run, "certified_accuracy")]]
    )(run)


def weights(run: RunPaths) -> Path:
    """Of the checkpoint that the certificate is about."""
    return run.checkpoint(36).model


def samples(change: Callable[[list[bytes]], list[bytes]]) -> Forge:
    """Changes the lines of the certificate's samples."""

    def forge(run: RunPaths) -> None:
        file = run.certificate(NAME).samples
        file.write_bytes(b"".join(line + b"\n" for line in change(file.read_bytes().splitlines())))

    return forge


def replaced_by(make: Callable[[Path], object], which: Callable[[RunPaths], Path]) -> Forge:
    """Puts something else in the place of a file."""

    def forge(run: RunPaths) -> None:
        which(run).unlink()
        make(which(run))

    return forge


def a_link(path: Path) -> None:
    """To a file that would be right."""
    outside = path.parents[3] / "outside"
    outside.write_bytes(b"")
    path.symlink_to(outside)


def certify_all(run: RunPaths) -> None:
    """Turns every verdict, and the figures with them."""
    samples(lambda lines: [line.replace(b'"certified":false', b'"certified":true') for line in lines])(run)
    summary(certified_accuracy=1.0, clean_accuracy=1.0, curve=[[0.1, 1.0]])(run)


def keep_the_certified(run: RunPaths) -> None:
    """Drops the images that are not certified, and counts the others only."""
    samples(lambda lines: [line for line in lines if b'"certified":true' in line])(run)
    kept = run.certificate(NAME).samples.read_bytes().splitlines()
    classes = sorted({json.loads(line)["label"] for line in kept})
    counts = [sum(json.loads(line)["label"] == label for line in kept) for label in classes]
    per_class = [
        {"label": label, "n": n, "clean": n, "certified": n} for label, n in zip(classes, counts, strict=True)
    ]
    summary(
        n=len(kept), total=len(kept), certified_accuracy=1.0, clean_accuracy=1.0, per_class=per_class,
        curve=[[0.1, 1.0]],
    )(run)  # fmt: skip


def name_what_is_kept(run: RunPaths) -> None:
    """Says of the images that are kept that they are the first, in the folder's name too."""
    keep_the_certified(run)
    run.certificate(NAME).root.rename(run.certificate(f"{NAME}-first-{said(run, 'n')}").root)


def claim_another_step(run: RunPaths) -> None:
    """Says in the name, too, that it is about another checkpoint."""
    summary(step=24, checkpoint="step-00000024")(run)
    run.certificate(NAME).root.rename(run.certificate(NAME.replace("36", "24")).root)


def change_weights_and_hashes(run: RunPaths) -> None:
    """Writes the same wrong hash wherever one is written."""
    record = json.loads(run.checkpoint(36).trainer.read_text())
    edit(run.checkpoint(36).trainer, sha256={**record["sha256"], "model.safetensors": "0" * 64})
    summary(model_sha256="0" * 64)(run)


def link_to_the_checkpoint(run: RunPaths) -> None:
    """Moves the checkpoint out of the run."""
    folder = run.checkpoint(36).root
    outside = shutil.move(folder, run.root.parent / "outside")
    folder.symlink_to(outside)


UNREADABLE = "summary.json: cannot be read: "
OTHER_IMAGES = "its samples are not those of the first test images"
OTHER_CLAIM = "its folder has the name of another claim"
EPS = "its eps is not a radius in [0, 1], or not the same as eps_exact"
FIGURES = "its figures are not those of its samples"
TIMES = "its times are not possible"
CURVE = "its curve does not fit its certified accuracy"
OTHER_WEIGHTS = "it is about other weights than its checkpoint's"

FORGERIES: dict[str, tuple[Forge, str]] = {
    "more than all are certified": (summary(certified_accuracy=7.5), f"{UNREADABLE}Expected `float` <= 1.0"),
    "less than none are right": (summary(clean_accuracy=-0.5), f"{UNREADABLE}Expected `float` >= 0.0"),
    "an accuracy is NaN": (summary(certified_accuracy="nan"), f"{UNREADABLE}Expected `float` >= 0.0"),
    "a count is negative": (summary(n=-1), f"{UNREADABLE}Expected `int` >= 0"),
    "the summary is cut short": (
        lambda run: run.certificate(NAME).summary.write_text('{"v":1,'),
        f"{UNREADABLE}Input data was truncated",
    ),
    "the summary is a pipe": (
        replaced_by(os.mkfifo, lambda run: run.certificate(NAME).summary),
        f"{UNREADABLE}it is not a regular file",
    ),
    "it is not complete": (summary(complete=False, n=120), "it was stopped after 120 of 360 images"),
    "fewer images than asked for": (summary(n=120), "it is about 120 of 360 images"),
    "no images": (summary(n=0, total=0), "it is about 0 of 0 images"),
    "p is finite": (summary(p=8.0), "it is about p = 8, and only p = inf is certified"),
    "more certified than right": (
        summary(certified_accuracy=0.9, curve=[[0.1, 0.9]]),
        "more images are certified than are classified right",
    ),
    "an attack that left more than are right": (
        summary(pgd_accuracy=0.9), "more images are certified than are classified right"
    ),
    "infinitely long": (summary(seconds="inf"), TIMES),
    "made at no time": (summary(created="nan"), TIMES),
    "less fast than not at all": (summary(images_per_s=-1.0), TIMES),
    "another certified accuracy": (summary(certified_accuracy=0.01), CURVE),
    "another certified accuracy, in the curve too": (
        summary(certified_accuracy=0.01, curve=[[0.1, 0.01]]), FIGURES
    ),
    "another clean accuracy": (summary(clean_accuracy=1.0), FIGURES),
    "a curve that rises": (
        lambda run: summary(curve=[[0.0, 0.0], *said(run, "curve")[1:]])(run), CURVE
    ),
    "another class's counts": (
        lambda run: summary(per_class=said(run, "per_class")[::-1])(run), FIGURES
    ),
    "images that were not finite": (summary(non_finite=3), FIGURES),
    "another eps": (summary(eps=0.2), EPS),
    "another exact eps": (summary(eps_exact="8/255"), EPS),
    "an eps beyond the pixels": (claim_eps("2"), EPS),
    "an eps that is none": (summary(eps_exact="[b]0.1"), EPS),
    "another eps throughout": (claim_eps("0.2"), OTHER_CLAIM),
    "the folder is renamed": (
        lambda run: run.certificate(NAME).root.rename(run.certificate(NAME.replace("0.1", "0.3")).root),
        OTHER_CLAIM,
    ),
    "other means": (summary(means="re-estimated"), OTHER_CLAIM),
    "another checkpoint": (summary(checkpoint="step-00000024"), OTHER_CLAIM),
    "another step": (summary(step=24), "it is about step 24, and not about its checkpoint's"),
    "another step throughout": (claim_another_step, OTHER_WEIGHTS),
    "another run": (summary(run="[b]better"), "it is about another run, [b]better"),
    "other data": (summary(data_sha256="0" * 64), "it is about data that linftui does not know"),
    "another hash": (summary(model_sha256="0" * 64), OTHER_WEIGHTS),
    "another hash throughout": (change_weights_and_hashes, "its weights have another SHA-256"),
    "other weights": (
        lambda run: weights(run).write_bytes(weights(run).read_bytes()[:-1] + b"!"),
        "its weights have another SHA-256",
    ),
    "no weights": (
        lambda run: weights(run).unlink(), "its weights cannot be read: No such file or directory"
    ),
    "weights without an end": (
        lambda run: os.truncate(weights(run), 1 << 40), "its weights cannot be read: File too large"
    ),
    "no checkpoint": (lambda run: shutil.rmtree(run.checkpoint(36).root), "its checkpoint is gone"),
    "half a checkpoint": (lambda run: run.checkpoint(36).complete.unlink(), "its checkpoint is gone"),
    "the checkpoint is a link": (link_to_the_checkpoint, "its checkpoint is gone"),
    "the checkpoint is of another step": (
        lambda run: edit(run.checkpoint(36).trainer, step=24), "its checkpoint is damaged"
    ),
    "the checkpoint cannot be read": (
        lambda run: run.checkpoint(36).trainer.write_text("{"), "its checkpoint is damaged"
    ),
    "no samples": (
        lambda run: run.certificate(NAME).samples.unlink(),
        "its samples cannot be read: No such file or directory",
    ),
    "the samples are a link": (
        replaced_by(a_link, lambda run: run.certificate(NAME).samples),
        "its samples cannot be read: it is not a regular file",
    ),
    "samples without an end": (
        lambda run: os.truncate(run.certificate(NAME).samples, 1 << 40),
        "its samples cannot be read: File too large",
    ),
    "a sample less": (samples(lambda lines: lines[1:]), "its samples are not those of 360 images"),
    "a sample more": (samples(lambda lines: lines + lines[:1]), "its samples are not those of 360 images"),
    "an image twice": (samples(lambda lines: lines[:1] + lines[:-1]), OTHER_IMAGES),
    "a sample that is none": (
        samples(lambda lines: [*lines[:4], b'{"index":', *lines[5:]]), "line 5 of its samples cannot be read"
    ),
    "samples that are not certified any more": (
        samples(lambda lines: [line.replace(b'"certified":true', b'"certified":false') for line in lines]),
        FIGURES,
    ),
    "all samples certified": (
        certify_all, "a sample is certified that is classified wrong or has no margin"
    ),
    "only what is certified": (keep_the_certified, OTHER_CLAIM),
    "only what is certified, as if it came first": (name_what_is_kept, OTHER_IMAGES),
    "a curve above what is right": (
        lambda run: summary(curve=[[0.0, 1.0], *said(run, "curve")[1:]])(run), CURVE
    ),
}  # fmt: skip
