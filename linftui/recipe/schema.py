"""What a recipe may say: typed, documented, validated at construction.

Every section is a frozen msgspec struct; every field carries its description, which is also what
`linftui recipe schema` hands to editors. Combinations that cannot work are refused in `__post_init__`
with a message that starts with the field's name, so that `load` can point at its line.
"""

import re
from fractions import Fraction
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta, Struct

from linftui.text import GREATEST_COUNT

Dataset = Literal["digits", "mnist", "cifar10"]
CLASSES = 10  # in every data set here

# The published code goes on to p = infinity only from so large a p; a smaller one it keeps.
GOES_TO_INF_FROM = 100

# So many epochs of up to two million images, one a batch, have no more steps than GREATEST_COUNT.
GREATEST_EPOCHS = 2**32
# A seed is not computed with, and the clock's nanoseconds make a good one: whatever torch takes is allowed.
GREATEST_SEED = 2**63 - 1

# float32 has room above it for what is computed from such weights; and Adam's first step is lr / (1 - beta1).
GREATEST_WEIGHT, GREATEST_STEP = 1e30, 3e38

# Bounded, so that no recipe makes us compute 10 ** 999999999 exactly; every decimal fits as N/D too.
FRACTION = re.compile(r"-?\d{1,18}(\.\d{1,30})?(e-?[0-2]?\d)?|-?\d{1,60}\s*/\s*\d{1,60}", re.ASCII)


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every part of a recipe."""


class Augment(Section, frozen=True, kw_only=True):
    crop_padding: Annotated[
        int, Meta(ge=0, le=16, description="Random crop after edge-padding by this many pixels; 0 is none.")
    ] = 0
    flip: Annotated[bool, Meta(description="Flip half of the images left to right.")] = False


class Data(Section, frozen=True, kw_only=True):
    dataset: Annotated[
        Dataset, Meta(description="digits ships with scikit-learn; the others are downloaded once.")
    ]
    root: Annotated[
        str | None,
        Meta(description="Folder that holds the data set's official files; null: the per-user cache."),
    ] = None
    holdout: Annotated[
        int,
        Meta(
            ge=0,
            le=GREATEST_COUNT,
            description="Training images set aside to choose the best checkpoint; 0: none is chosen.",
        ),
    ] = 0
    augment: Annotated[Augment, Meta(description="Applied to training images only.")] = Augment()


class Model(Section, frozen=True, kw_only=True):
    kind: Annotated[Literal["mlp"], Meta(description="mlp: distance layers throughout.")] = "mlp"
    width: Annotated[int, Meta(ge=1, le=GREATEST_COUNT, description="Neurons of every hidden layer.")]
    depth: Annotated[int, Meta(ge=1, le=GREATEST_COUNT, description="Layers in all, the last one included.")]
    identity: Annotated[
        float,
        Meta(
            ge=0,
            le=GREATEST_WEIGHT,
            description="Hidden layers start with w[i, i mod n_in] = -identity where n_in <= n_out.",
        ),
    ] = 10.0


class Eps(Section, frozen=True, kw_only=True):
    train: Annotated[
        Fraction, Meta(description='Radius the objective asks for, in pixel units; exact, such as "24/255".')
    ]
    test: Annotated[
        Fraction, Meta(description='Radius that is evaluated and certified, in pixel units, such as "8/255".')
    ]

    def __post_init__(self) -> None:
        for name in ("train", "test"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise ValueError(
                    f"{name} must be > 0 and <= 1 (pixels lie in [0, 1]), got {format_fraction(value)}"
                )


class P(Section, frozen=True, kw_only=True):
    start: Annotated[float, Meta(ge=1, le=1e4, description="p of the first epochs.")] = 8.0
    final: Annotated[float, Meta(ge=1, le=1e4, description="p just before it becomes infinite.")] = 1000.0
    begin_epoch: Annotated[float, Meta(ge=0, description="Progress at which p begins to grow.")]
    end_epoch: Annotated[float, Meta(ge=0, description="Progress from which p is infinite.")]

    def __post_init__(self) -> None:
        if self.final < self.start:
            raise ValueError(f"final must be >= p.start ({self.start:g}), got {self.final:g}")
        if self.end_epoch <= self.begin_epoch:
            raise ValueError(
                f"end_epoch must be > p.begin_epoch ({self.begin_epoch:g}), got {self.end_epoch:g}"
            )


class Lam(Section, frozen=True, kw_only=True):
    start: Annotated[
        float, Meta(gt=0, description="Mixing coefficient of the cross-entropy while p is at its start.")
    ]
    end: Annotated[float, Meta(gt=0, description="Mixing coefficient once p is infinite.")]

    def __post_init__(self) -> None:
        if self.end > self.start:
            raise ValueError(f"end must be <= objective.lam.start ({self.start:g}), got {self.end:g}")


class Objective(Section, frozen=True, kw_only=True):
    kind: Annotated[
        Literal["mixture"], Meta(description="mixture: clipped margin loss + lam * scaled cross-entropy.")
    ] = "mixture"
    lam: Annotated[Lam, Meta(description="Moves with p, geometrically from start to end.")]


class Optimizer(Section, frozen=True, kw_only=True):
    kind: Annotated[Literal["adam"], Meta(description="Adam without weight decay.")] = "adam"
    lr: Annotated[
        float, Meta(gt=0, le=GREATEST_STEP, description="Of the weights; cosine over all epochs.")
    ] = 0.03
    scalar_lr: Annotated[
        float,
        Meta(gt=0, le=GREATEST_STEP, description="Of the scalar that scales the cross-entropy's logits."),
    ] = 0.006
    beta1: Annotated[float, Meta(ge=0, lt=1, description="Decay of Adam's first moment.")] = 0.9
    beta2: Annotated[float, Meta(ge=0, lt=1, description="Decay of Adam's second moment.")] = 0.99
    adam_eps: Annotated[float, Meta(gt=0, description="Added to the root of Adam's second moment.")] = 1e-10

    def __post_init__(self) -> None:
        for name in ("lr", "scalar_lr"):
            value, most = getattr(self, name), GREATEST_STEP * (1 - self.beta1)
            if value > most:
                raise ValueError(f"{name} must be <= 3e38 * (1 - beta1), which is {most:g}, got {value:g}")


class Evaluation(Section, frozen=True, kw_only=True):
    every_epochs: Annotated[
        int, Meta(ge=1, le=GREATEST_COUNT, description="Evaluate at p = inf after every so many epochs.")
    ] = 1
    batch_size: Annotated[
        int, Meta(ge=1, le=GREATEST_COUNT, description="Images a batch of an evaluation.")
    ] = 512
    reestimate_means: Annotated[
        bool,
        Meta(
            description="Also evaluate a copy whose running means are re-estimated at p = inf, on 2,048 "
            "training images: what stopping now would give."
        ),
    ] = False


class Checkpoint(Section, frozen=True, kw_only=True):
    every_epochs: Annotated[
        int, Meta(ge=1, le=GREATEST_COUNT, description="Save after every so many epochs.")
    ] = 1
    keep: Annotated[
        int, Meta(ge=1, le=GREATEST_COUNT, description="The newest so many are kept, and the best.")
    ] = 2


class Log(Section, frozen=True, kw_only=True):
    every_steps: Annotated[
        int, Meta(ge=1, le=GREATEST_COUNT, description="Steps that one training record averages over.")
    ] = 10


class Recipe(Section, frozen=True, kw_only=True):
    """A whole run."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$(?!\n)",
            description="Plain name; run directories begin with it.",
        ),
    ]
    description: Annotated[str, Meta(description="A sentence about what this run is for.")] = ""
    seed: Annotated[
        int, Meta(ge=0, le=GREATEST_SEED, description="Decides initial weights, data order and augmentation.")
    ] = 0
    epochs: Annotated[int, Meta(ge=1, le=GREATEST_EPOCHS, description="Passes over the training data.")]
    batch_size: Annotated[
        int, Meta(ge=1, le=GREATEST_COUNT, description="Images a step, over all ranks together.")
    ]
    data: Annotated[Data, Meta(description="The images, and what is done to them in training.")]
    model: Annotated[Model, Meta(description="The network.")]
    eps: Annotated[Eps, Meta(description="The radii of the l-infinity balls.")]
    p: Annotated[P, Meta(description="The norm's p: geometric from start to final, then infinite.")]
    objective: Annotated[Objective, Meta(description="The loss.")]
    optimizer: Annotated[Optimizer, Meta(description="How weights follow the loss.")] = Optimizer()
    evaluation: Annotated[Evaluation, Meta(description="How often the test set is looked at.")] = Evaluation()
    checkpoint: Annotated[Checkpoint, Meta(description="What is saved, to go on from.")] = Checkpoint()
    log: Annotated[Log, Meta(description="What is written down of the training.")] = Log()

    def cautions(self) -> list[str]:
        """Sentences on what is allowed and yet rarely meant, or is another thing in the published code."""
        p, model, said = self.p, self.model, []
        if p.end_epoch > self.epochs:
            said.append(
                f"p.end_epoch ({p.end_epoch:g}) lies beyond epochs ({self.epochs}), so p stays finite "
                "in training; evaluation and certificates are at p = inf all the same"
            )
        if p.final < GOES_TO_INF_FROM and p.end_epoch < self.epochs:
            said.append(
                f"p.final ({p.final:g}) is below {GOES_TO_INF_FROM}, and at p.end_epoch p jumps from there "
                "to infinity, where the published code keeps it finite; choose "
                f"{GOES_TO_INF_FROM} or more (the paper's is 1000)"
            )
        if model.depth == 1:
            said.append(
                "model.depth is 1: a single layer from pixels to logits, to which model.width and "
                "model.identity do not apply; the published code makes two of it; choose 2 or more"
            )
        elif model.width <= CLASSES and model.identity:
            said.append(
                f"model.width ({model.width}) is not above the {CLASSES} classes, where the published code "
                "gives the last layer an identity start too; here it has none; choose a greater width"
            )
        return said


def decode_custom(expected: type, value: Any) -> Any:
    """Exact fractions from YAML: "8/255", 1, and 0.1 as the decimal one tenth, not its binary neighbour.

    Quote a decimal of more than 17 digits; unquoted, it has been rounded to a float before it comes here.
    """
    if expected is Fraction and not isinstance(value, bool) and FRACTION.fullmatch(str(value).strip()):
        numerator, _, denominator = str(value).partition("/")
        if not denominator or int(denominator):
            return Fraction(numerator.strip()) / int(denominator or 1)
    raise ValueError(f"must be a fraction such as 8/255 or a decimal such as 0.1, got {value!r}")


def parse_fraction(text: str) -> Fraction:
    """The exact value of text such as "8/255" or "0.1"; ValueError with a sentence where it is neither."""
    fraction: Fraction = decode_custom(Fraction, text)
    return fraction


def parse_radius(text: str) -> Fraction:
    """The exact radius that text such as "8/255" or "0.1" is; ValueError with a sentence where it is none."""
    eps = parse_fraction(text.strip())
    if not 0 <= eps <= 1:
        raise ValueError(f"must lie in [0, 1], in pixel units, got {text.strip()}")
    return eps


def format_fraction(value: Fraction) -> str:
    """As people write radii: a short decimal where that is exact, else in 255ths, else in lowest terms."""
    ten_thousandths = value * 10_000
    if ten_thousandths.denominator == 1:
        return f"{float(value):g}"
    if (value * 255).denominator == 1:
        return f"{value * 255}/255"
    return str(value)


def encode_custom(value: Any) -> Any:
    """The other way round, for YAML and JSON."""
    if isinstance(value, Fraction):
        return format_fraction(value)
    raise TypeError(f"a recipe cannot hold {type(value).__name__}")


def _json_schema_of(custom: type) -> dict[str, Any]:
    if custom is Fraction:
        return {
            "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\s*\d+\s*(/\s*\d+|\.\d+)?\s*$"}]
        }
    raise TypeError(f"no JSON Schema for {custom.__name__}")


def field_paths(section: type[msgspec.Struct] = Recipe) -> list[str]:
    """The dotted path of every value of a recipe, such as "optimizer.lr"."""
    paths = list[str]()
    for name, kind in get_type_hints(section).items():
        paths += [f"{name}.{path}" for path in field_paths(kind)] if is_section(kind) else [name]
    return paths


def is_section(kind: Any) -> bool:
    """Whether this is the type of a part of a recipe that has values of its own, such as `optimizer`."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, for editors (`linftui recipe schema`)."""
    schema = msgspec.json.schema(Recipe, schema_hook=_json_schema_of)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "linftui recipe", **schema}
