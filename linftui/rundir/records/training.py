"""What a run was made from, and what its training reports and saves."""

from typing import ClassVar, Literal

from msgspec import Struct

from linftui.rundir.records.codec import Count, Int, Means, Record, Seed, Share


class TrainRecord(Record, frozen=True, kw_only=True, tag_field="kind", tag="train"):
    """Means over the training steps since the previous record; schedules as at the last of them.

    `certified_at_p` is the share of training images whose margin at the *current p* exceeds what eps_test
    asks for (`_train_eps`: eps_train). It is comparable with published logs and is not a certificate.
    """

    # Figures that have fields of their own, by their names in objectives; others go into `figures`.
    FIELDS: ClassVar[dict[str, str]] = {
        "loss": "loss",
        "correct": "accuracy",
        "certified": "certified_at_p",
        "certified_train_eps": "certified_at_p_train_eps",
        "scalar": "scalar",
    }

    attempt: Int
    step: Int  # steps done since the run began
    epoch: float  # epochs done, step / steps per epoch
    time: float  # seconds since 1970
    loss: float
    accuracy: Share
    certified_at_p: Share
    certified_at_p_train_eps: Share
    p: float
    eps: float  # the objective's radius at the last step, pixel units
    lam: float | None = None  # these four: None where the objective, or the optimizer, has none
    scalar: float | None = None  # the learnable scale of the cross-entropy's logits
    lr: float | None = None
    images_per_s: float | None = None
    figures: dict[str, float] = {}  # those that only this objective has, by name


class EvalRecord(Record, frozen=True, kw_only=True, tag_field="kind", tag="eval"):
    """An evaluation at p = inf, with the certificate's own outward-rounded bounds."""

    attempt: Int
    step: Int
    epoch: float
    time: float
    split: Literal["test", "holdout"]
    n: Count
    clean_accuracy: Share
    certified_accuracy: Share
    eps: Share
    means: Means
    seconds: float

    @property
    def counts(self) -> bool:
        """Whether it is the run's result: on the test set, with the running means."""
        return self.split == "test" and self.means == "running"


Metric = TrainRecord | EvalRecord
EventName = Literal[
    "started", "resumed", "kernels", "checkpoint", "warning", "stop-seen", "stopped", "finished", "failed"
]


class EventRecord(Record, frozen=True, kw_only=True):
    """Something worth knowing that happened at a moment."""

    attempt: Int
    step: Int
    time: float
    event: EventName
    message: str = ""


class MetaRecord(Record, frozen=True, kw_only=True):
    """What a run was made from (meta.json)."""

    id: str
    created: float
    recipe: str  # the recipe's own name
    recipe_source: str  # where it was read from
    recipe_hash: str
    overrides: list[str]
    argv: list[str]
    seed: Seed
    epochs: Int
    eps_test: str  # exact, such as "8/255"
    dataset: str = ""  # empty: written before it was noted
    versions: dict[str, str]
    git: str | None
    host: str
    devices: list[str]  # of the last attempt that began to compute, as are the two below
    threads: Int | None = None  # of each rank; None: written before they were noted
    kernel_backend: str | None = None  # known once a worker has started


class WindowSums(Struct, frozen=True, kw_only=True):
    """Sums of the training figures since the last record, so that a resume averages over the same steps."""

    COMMON: ClassVar[tuple[str, ...]] = ("loss", "correct", "certified", "certified_train_eps")

    images: Int = 0
    loss: float = 0.0
    correct: float = 0.0
    certified: float = 0.0
    certified_train_eps: float = 0.0
    figures: dict[str, float] = {}  # those that only this objective has


class BestRecord(Struct, frozen=True, kw_only=True):
    """The best certified accuracy on the held-out split so far, and where it was."""

    step: Int
    certified_accuracy: Share


class TrainerRecord(Record, frozen=True, kw_only=True):
    """Everything in a checkpoint that is not a tensor (trainer.json).

    Data order and augmentation are functions of (seed, epoch, step, sample), so the position and the seed
    are the whole state of randomness.
    """

    attempt: Int
    step: Int
    epoch: float
    seed: Seed
    steps_per_epoch: Int
    recipe_hash: str
    window: WindowSums
    best: BestRecord | None
    evaluated: bool  # the evaluation due at this step is in the metrics already
    sha256: dict[str, str]  # of the files beside this one
    time: float
