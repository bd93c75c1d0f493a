"""The models that a recipe may name."""

from typing import Annotated, ClassVar

from msgspec import Meta

from linftui.recipe.bounds import GREATEST_WEIGHT
from linftui.recipe.section import Kind, Registry, Section
from linftui.text import GREATEST_COUNT


class Model(Kind):
    """Base of every model's section. Its implementation makes a `Net` of it, `Inputs` and a seed."""

    registry: ClassVar[Registry["Model"]] = Registry("kind", default="mlp")

    def summary(self) -> str:
        """Its size in a few characters, for tables and screens."""
        raise NotImplementedError

    def cautions(self, classes: int) -> list[str]:
        """Sentences on what is allowed and yet rarely meant, or is another thing in the published code."""
        return []


@Model.registry.add
class MLP(Section, Model, frozen=True, kw_only=True, tag_field="kind", tag="mlp"):
    """Distance layers throughout."""

    implementation = "linftui.nn.models:DistanceMLP.of"

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

    def summary(self) -> str:
        """Layers and their width."""
        return f"{self.depth} × {self.width}"

    def cautions(self, classes: int) -> list[str]:
        """A net that is hardly one, and one that would begin otherwise in the published code."""
        if self.depth == 1:
            return [
                "model.depth is 1: a single layer from pixels to logits, to which model.width and "
                "model.identity do not apply; the published code makes two of it; choose 2 or more"
            ]
        if self.width <= classes and self.identity:
            return [
                f"model.width ({self.width}) is not above the {classes} classes, where the published code "
                "gives the last layer an identity start too; here it has none; choose a greater width"
            ]
        return []
