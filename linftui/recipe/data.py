"""The data sets that a recipe may name, and what is known of each without reading it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from msgspec import Meta

from linftui.recipe.digits_order import TEST_DIGITS
from linftui.recipe.section import Kind, Registry, Section
from linftui.text import GREATEST_COUNT


@dataclass(frozen=True)
class Inputs:
    """What a net must know about its images.

    A pixel lies in [0, 1]; `mean` (one per channel) and `std` (one for all channels, so that an l-infinity
    ball stays one) are in the same unit.
    """

    shape: tuple[int, int, int]  # channels, height, width
    classes: int
    mean: tuple[float, ...]
    std: float


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a data set. Tests compare it with the images themselves."""

    inputs: Inputs
    levels: int  # a pixel is exactly byte / levels
    sha256: str  # of all images and labels
    test_images: Sequence[int]  # the numbers of the test images, in order
    commonest_class: float  # the share of the commonest class in the test set


class Augment(Section, frozen=True, kw_only=True):
    """Random changes to training images."""

    crop_padding: Annotated[
        int, Meta(ge=0, le=16, description="Random crop after edge-padding by this many pixels; 0 is none.")
    ] = 0
    flip: Annotated[bool, Meta(description="Flip half of the images left to right.")] = False


class DataSection(Kind):
    """Base of every data set's section; its implementation takes the section and returns a `Dataset`."""

    registry: ClassVar[Registry["DataSection"]] = Registry("dataset")
    facts: ClassVar[DatasetFacts]
    root: str | None
    holdout: int
    augment: Augment

    @property
    def dataset(self) -> str:
        """Its name."""
        return self.kind


class OfficialData(Section, DataSection, frozen=True, kw_only=True):
    """A data set that is read from its official files."""

    implementation = "linftui.data.datasets:load_official"

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


@DataSection.registry.add
class Digits(OfficialData, frozen=True, kw_only=True, tag_field="dataset", tag="digits"):
    """Digits of 8 x 8 pixels, which come with scikit-learn."""

    facts = DatasetFacts(
        inputs=Inputs(shape=(1, 8, 8), classes=10, mean=(0.3,), std=0.376),
        levels=16,
        sha256="31acfd2dc7ed23f73f15f80f454b0433d88f55d0f510f2708f4a882d5f8d791c",
        test_images=TEST_DIGITS,
        commonest_class=42 / 360,
    )


@DataSection.registry.add
class Mnist(OfficialData, frozen=True, kw_only=True, tag_field="dataset", tag="mnist"):
    """MNIST, downloaded once: digits of 28 x 28 pixels."""

    facts = DatasetFacts(
        inputs=Inputs(shape=(1, 28, 28), classes=10, mean=(0.1307,), std=0.3081),
        levels=255,
        sha256="2edad8764efab7a0d9f88935d1a5179814ed944ec7ab65377fea543b692f103a",
        test_images=range(10_000),
        commonest_class=1135 / 10_000,
    )


@DataSection.registry.add
class Cifar10(OfficialData, frozen=True, kw_only=True, tag_field="dataset", tag="cifar10"):
    """CIFAR-10, downloaded once: photographs of 32 x 32 pixels."""

    facts = DatasetFacts(
        inputs=Inputs(shape=(3, 32, 32), classes=10, mean=(0.4914, 0.4822, 0.4465), std=0.2009),
        levels=255,
        sha256="c52ba1b2a0c0856836680a91a668694237309c99647f5b6338ab9f5253423b7f",
        test_images=range(10_000),
        commonest_class=1000 / 10_000,
    )


def facts_of(dataset: str) -> DatasetFacts | None:
    """What is known of the data set of this name; None: linftui does not know it."""
    kind = DataSection.registry.kinds.get(dataset)
    return None if kind is None else kind.facts


def known_by(sha256: str) -> tuple[str, Sequence[int]]:
    """The data set with this fingerprint, and the numbers of its test images; ("", ()): there is none."""
    known = ((name, kind.facts) for name, kind in DataSection.registry.kinds.items())
    return next(((name, facts.test_images) for name, facts in known if facts.sha256 == sha256), ("", ()))
