"""The objectives that a recipe may name."""

from typing import Annotated, ClassVar

from msgspec import Meta

from linftui.recipe.section import Kind, Registry, Section


class Lam(Section, frozen=True, kw_only=True):
    """The mixing coefficient."""

    start: Annotated[
        float, Meta(gt=0, description="Mixing coefficient of the cross-entropy while p is at its start.")
    ]
    end: Annotated[float, Meta(gt=0, description="Mixing coefficient once p is infinite.")]

    def __post_init__(self) -> None:
        if self.end > self.start:
            raise ValueError(f"end must be <= objective.lam.start ({self.start:g}), got {self.end:g}")


class ObjectiveSection(Kind):
    """Base of every objective's section; its implementation takes the section and eps.test in pixel units."""

    registry: ClassVar[Registry["ObjectiveSection"]] = Registry("kind", default="mixture")

    @property
    def mixing(self) -> tuple[float, float] | None:
        """The mixing coefficient while p is at its start, and once p is infinite; None: it mixes nothing."""
        return None


@ObjectiveSection.registry.add
class Mixture(Section, ObjectiveSection, frozen=True, kw_only=True, tag_field="kind", tag="mixture"):
    """Clipped margin loss + lam * scaled cross-entropy."""

    implementation = "linftui.train.objectives:MixtureLoss.of"

    lam: Annotated[Lam, Meta(description="Moves with p, geometrically from start to end.")]

    @property
    def mixing(self) -> tuple[float, float]:
        """The ends of lam."""
        return self.lam.start, self.lam.end
