"""What a recipe may hold: typed, documented, validated at construction.

Every section is a frozen msgspec struct; every field carries its description, which `linftui recipe schema`
also gives to editors. Combinations that cannot work are refused in `__post_init__` with a message that starts
with the field's name, so that `load` can point at its line.
"""

from fractions import Fraction
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from linftui.recipe.bounds import GREATEST_EPOCHS, GREATEST_SEED, GREATEST_STEP
from linftui.recipe.data import DataSection
from linftui.recipe.fraction import format_fraction
from linftui.recipe.model import ModelSection
from linftui.recipe.objective import ObjectiveSection
from linftui.recipe.section import Kind, Section
from linftui.text import GREATEST_COUNT

# The published code switches to p = infinity only from this p on; it keeps a smaller one.
GOES_TO_INF_FROM = 100


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
        int, Meta(ge=1, le=GREATEST_COUNT, description="Epochs from one evaluation at p = inf to the next.")
    ] = 1
    batch_size: Annotated[
        int, Meta(ge=1, le=GREATEST_COUNT, description="Images per batch of an evaluation.")
    ] = 512
    reestimate_means: Annotated[
        bool,
        Meta(
            description="Also evaluate a copy whose running means are re-estimated at p = inf, on 2,048 "
            "training images: the result of stopping now."
        ),
    ] = False


class Checkpoint(Section, frozen=True, kw_only=True):
    every_epochs: Annotated[
        int, Meta(ge=1, le=GREATEST_COUNT, description="Epochs from one checkpoint to the next.")
    ] = 1
    keep: Annotated[
        int, Meta(ge=1, le=GREATEST_COUNT, description="How many of the newest are kept, besides the best.")
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
        int, Meta(ge=1, le=GREATEST_COUNT, description="Images per step, over all ranks together.")
    ]
    data: Annotated[DataSection, Meta(description="The images, and how training changes them.")]
    model: Annotated[ModelSection, Meta(description="The network.")]
    eps: Annotated[Eps, Meta(description="The radii of the l-infinity balls.")]
    p: Annotated[P, Meta(description="The norm's p: geometric from start to final, then infinite.")]
    objective: Annotated[ObjectiveSection, Meta(description="The loss.")]
    optimizer: Annotated[Optimizer, Meta(description="How the weights follow the loss.")] = Optimizer()
    evaluation: Annotated[Evaluation, Meta(description="How often the net is evaluated.")] = Evaluation()
    checkpoint: Annotated[Checkpoint, Meta(description="What is saved, to resume from.")] = Checkpoint()
    log: Annotated[Log, Meta(description="What is recorded of the training.")] = Log()

    def cautions(self) -> list[str]:
        """Sentences on values that are rarely meant, or that the published code treats otherwise."""
        p, said = self.p, list[str]()
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
        return said + self.model.cautions(self.data.facts.inputs.classes)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, for editors (`linftui recipe schema`)."""
    schema = msgspec.json.schema(Recipe, schema_hook=_schema_of)
    for section in (DataSection, ModelSection, ObjectiveSection):
        schema["$defs"] |= _kinds_of(section)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "linftui recipe", **schema}


def _schema_of(custom: type) -> dict[str, Any]:
    if custom is Fraction:
        return {
            "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\s*\d+\s*(/\s*\d+|\.\d+)?\s*$"}]
        }
    if issubclass(custom, Kind):
        return {"anyOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in custom.registry.kinds.values()]}
    raise NotImplementedError(f"no JSON Schema for {custom.__name__}")


def _kinds_of(section: type[Kind]) -> dict[str, Any]:
    """The definitions of every kind of a section."""
    registry = section.registry
    _, definitions = msgspec.json.schema_components(
        registry.kinds.values(), schema_hook=_schema_of, ref_template="#/$defs/{name}"
    )
    for name, kind in registry.kinds.items():
        definition = definitions[kind.__name__]
        definition["properties"][registry.field]["description"] = f"{name}: {definition['description']}"
        if name == registry.default:  # which need not be named
            definition["required"].remove(registry.field)
    return definitions
