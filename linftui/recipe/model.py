"""The models that a recipe may name."""

from typing import Annotated, ClassVar

from msgspec import Meta

from linftui.recipe.bounds import GREATEST_WEIGHT
from linftui.recipe.section import Kind, Registry, Section
from linftui.text import GREATEST_COUNT


class ModelSection(Kind):
    """Base of every model's section; its implementation makes a `Net` from it, `Inputs` and a seed."""

    registry: ClassVar[Registry["ModelSection"]] = Registry("kind", default="mlp")

    def summary(self) -> str:
        """Its size in a few characters, for tables and screens; here, what it is called."""
        return self.kind

    def cautions(self, classes: int) -> list[str]:
        """Sentences on values that are rarely meant, or that the published code treats otherwise."""
        return []


@ModelSection.registry.add
class MLP(Section, ModelSection, frozen=True, kw_only=True, tag_field="kind", tag="mlp"):
    """Distance layers throughout."""

    implementation = "linftui.nn.models:DistanceMLP.of"

    width: Annotated[int, Meta(ge=1, le=GREATEST_COUNT, description="Neurons of every hidden layer.")]
    depth: Annotated[int, Meta(ge=1, le=GREATEST_COUNT, description="Number of layers, with the last.")]
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
        """On a net of a single layer, and on one that would start otherwise in the published code."""
        if self.depth == 1:
            return [
                "model.depth is 1: a single layer from pixels to logits, to which model.width and "
                "model.identity do not apply; the published code makes it two layers; choose 2 or more"
            ]
        if self.width <= classes and self.identity:
            return [
                f"model.width ({self.width}) is not above the {classes} classes, where the published code "
                "gives the last layer an identity start too; here it has none; choose a greater width"
            ]
        return []
