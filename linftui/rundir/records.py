"""What the files of a run directory hold: typed records, each with its format's version `v`.

JSON has no infinities, so a non-finite number is written as a string ("inf", "-inf", "nan"), and so is an
integer beyond 2^53, such as a long seed, which many JSON readers would round; decoding turns both back. A
reader accepts older versions, ignores fields it does not know, and rejects a record of a newer version.

A new field has a default: the meaning of its absence in older records. The version grows when an older reader
would misread new records. Version 2: figures of a training record that only some objectives have may be
missing, and a certification has a request.
"""

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from linftui.recipe.bounds import GREATEST_SEED
from linftui.text import GREATEST_COUNT

VERSION = 2

STOP_DEADLINE_S = 120.0  # how long a stop may take, unless the request says otherwise

# JSON sets no bounds, and a stranger's record may hold an integer of 300 digits: these are recipes' bounds.
Int = Annotated[int, Meta(ge=-GREATEST_COUNT, le=GREATEST_COUNT)]
Count = Annotated[int, Meta(ge=0, le=GREATEST_COUNT)]
Seed = Annotated[int, Meta(ge=0, le=GREATEST_SEED)]
# A record with a share above 1, or NaN, counts as unreadable.
Share = Annotated[float, Meta(ge=0, le=1)]
Means = Literal["running", "re-estimated"]  # which running means a net is evaluated with


class Record(Struct, frozen=True, kw_only=True):
    """Base of all records."""

    v: Int = VERSION


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


class HostRecord(Struct, frozen=True, kw_only=True):
    """Where process ids mean something: a machine, since its boot, within a process namespace."""

    name: str
    boot_id: str
    pid_namespace: str
    machine: str = ""  # its id, which survives a reboot


class ProcessRecord(Struct, frozen=True, kw_only=True):
    """A process, described so that a later one with the same pid is not mistaken for it."""

    role: str  # "supervisor", "rank-0", ...
    pid: Int
    start_time: Int  # the kernel's, in ticks since boot
    uid: Int


class StateRecord(Record, frozen=True, kw_only=True):
    """Who runs this run now (state.json, written by the supervisor)."""

    attempt: Int
    phase: Literal["pending", "starting", "running"]  # "running" from the first step on
    host: HostRecord  # the supervisor's
    members: list[ProcessRecord]
    devices: list[str]
    threads: Int
    time: float
    nonce: str = ""  # unique to this attempt: a later run of the same name has another
    folder: str = ""  # `liveness.folder_identity` of the run directory: a copy of it has another
    hosts: dict[str, HostRecord] = {}  # of members on another host than the supervisor, by role

    def host_of(self, member: ProcessRecord) -> HostRecord:
        """Where a member runs."""
        return self.hosts.get(member.role, self.host)


class MemberRecord(Record, frozen=True, kw_only=True):
    """Which process works on something, and where (member-<rank>.json, a certification's worker.json)."""

    host: HostRecord
    process: ProcessRecord
    folder: str = ""  # as in StateRecord


class StartRecord(Record, frozen=True, kw_only=True):
    """A supervisor's answer to the process that started it: its attempt, or why there is none."""

    attempt: Int | None = None
    message: str = ""
    hint: str = ""
    exit_code: Int = 0


class ExitRecord(Record, frozen=True, kw_only=True):
    """How an attempt ended (exit.json, written by the supervisor)."""

    attempt: Int
    outcome: Literal["finished", "stopped", "failed", "crashed"]
    code: Int  # the worker's exit code; negative: the signal that ended it
    time: float
    message: str = ""
    hint: str = ""


class ErrorRecord(Record, frozen=True, kw_only=True):
    """Why a rank failed, as it reports itself (error-<rank>.json)."""

    error: str  # class name
    message: str
    hint: str
    exit_code: Int
    time: float


class RankReport(Record, frozen=True, kw_only=True):
    """What a rank reports to its supervisor through a pipe: that it is alive, has begun, or why it failed."""

    rank: Int
    begun: bool = False  # its first step is done
    error: ErrorRecord | None = None


class GpuProcess(Struct, frozen=True, kw_only=True):
    """A process that holds GPU memory; the driver's pids may belong to another namespace than ours."""

    pid: Int
    memory: Int | None  # bytes


class Gpu(Struct, frozen=True, kw_only=True):
    """A GPU at one moment, in PCI order, which is the order of `--devices 0,3`. None: not reported."""

    index: Int
    uuid: str
    name: str
    memory_total: Int | None = None  # bytes
    memory_used: Int | None = None
    utilisation: float | None = None  # share of the time that a kernel ran, in [0, 1]
    power: float | None = None  # watts
    power_limit: float | None = None
    temperature: float | None = None  # degrees Celsius
    processes: list[GpuProcess] | None = None
    problem: str = ""  # why something is missing; empty where nothing is


class DeviceRecord(Record, frozen=True, kw_only=True):
    """The machine's devices at one moment of an attempt (devices.jsonl, written by the supervisor)."""

    attempt: Int
    time: float
    cpu: float  # share of the usable cores in use since the previous record, in [0, 1]
    memory_used: Int  # bytes, of the whole machine
    memory_total: Int
    run_cpu: float  # cores that the run's own processes used since the previous record
    run_memory: Int  # bytes that they hold
    gpus: list[Gpu]  # the run's own
    gpu_problem: str = ""  # why none are reported


class StopRequest(Record, frozen=True, kw_only=True):
    """A request that an attempt stop (control/stop-<attempt>.json)."""

    attempt: Int
    time: float
    by: str
    deadline_s: float = STOP_DEADLINE_S  # from when this is seen until the attempt is ended, saved or not


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


def jsonable(value: Any) -> Any:
    """The value as plain JSON types.

    A number that some JSON readers would round becomes a string; bytes of a file name that are not text
    become "?".
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int) and abs(value) > GREATEST_COUNT:
        return str(value)
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, Struct):
        return jsonable(msgspec.to_builtins(value))
    return value


def encode(record: Struct) -> bytes:
    """The record as one line of JSON, without the newline."""
    return msgspec.json.encode(jsonable(record))


def decoder(kind: Any) -> Callable[[bytes], Any]:
    """A function from JSON to `kind`; lax, so that "inf" becomes a float. Raises msgspec's errors."""
    decode = msgspec.json.Decoder(kind, strict=False).decode
    return lambda data: _known(decode, data)


def _known(decode: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        try:
            record = decode(data)
        except msgspec.ValidationError:
            _refuse_newer(_decode_version(data).v)  # the version is the reason, not a field that changed
            raise
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply for a record") from None
    _refuse_newer(getattr(record, "v", VERSION))
    return record


class _Versioned(Struct):
    """The one field that every version of every record has."""

    v: Int = VERSION


_decode_version = msgspec.json.Decoder(_Versioned, strict=False).decode


def _refuse_newer(version: int) -> None:
    if version > VERSION:
        raise msgspec.ValidationError(f"written by a newer linftui (format {version}, this reads {VERSION})")
