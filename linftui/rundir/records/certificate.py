"""What is asked of a certification, and what it claims."""

from typing import Literal

from msgspec import Struct

from linftui.rundir.records.codec import Count, Int, Means, Record, Share


class SampleRecord(Struct, frozen=True, kw_only=True):
    """One image of a certificate (samples.jsonl)."""

    index: Int
    label: Int
    prediction: Int | None  # null: no class is strictly on top, or a logit is not finite
    certified: bool
    margin: float  # lower bound of f_label - max other over the box, in logit (normalised) units
    radius: float | None = None  # pixel units; null where not asked for
    attacked: bool | None = None  # null until an attack ran


class CertifyRequest(Record, frozen=True, kw_only=True):
    """What is to be certified (request.json, written before the certification starts)."""

    eps: list[str]  # exact radii in pixel units, such as "8/255"
    checkpoint: str = "latest"  # or "best", or a step
    means: Means = "running"
    limit: Count | None = None  # how many of the first test images; None: all of them


class CertifyTask(Record, frozen=True, kw_only=True):
    """The certificates that one certification process makes, in order (task.json)."""

    certificates: list[str]  # folder names under certificates/
    drafts: list[str]  # where each is made, until it is complete
    done: Int  # how many are complete; the next is being made
    warnings: list[str] = []  # about damaged checkpoints passed over, and pictures that could not be drawn
    stopped: bool = False  # it was asked to stop, and did


class CertificateSummary(Record, frozen=True, kw_only=True):
    """A certificate and all that its claim rests on (summary.json)."""

    run: str
    checkpoint: str
    step: Int
    split: Literal["test"]
    means: Means
    complete: bool
    n: Count  # images done
    total: Count  # images asked for
    eps: float
    eps_exact: str
    p: float
    clean_accuracy: Share
    certified_accuracy: Share
    pgd_accuracy: Share | None
    non_finite: Count  # images with a NaN or infinity in a logit or bound: never certified
    per_class: list["ClassCount"]
    curve: list[tuple[float, Share]]  # (eps, certified accuracy), each point certified like the headline
    seconds: float
    images_per_s: float
    model_sha256: str
    data_sha256: str
    rounding: str
    backend: str
    device: str
    versions: dict[str, str]
    created: float


class ClassCount(Struct, frozen=True, kw_only=True):
    """Counts of the images of one class."""

    label: Int
    n: Count
    clean: Count
    certified: Count
