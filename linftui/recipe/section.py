"""What a recipe is made of: sections of typed fields, and sections of which there are several kinds.

A kind of model, objective or data set joins a registry, and a recipe names it. Its section holds everything
that needs no torch, and names the implementation that does; that is imported where it is needed.
"""

import importlib
from fractions import Fraction
from operator import attrgetter
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_type_hints

import msgspec
from msgspec import Struct, structs

from linftui.recipe.fraction import format_fraction, read_fraction

K = TypeVar("K")


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every part of a recipe; every field carries its description."""


class Registry(Generic[K]):
    """The kinds of one section, by name.

    Args:
        field: the key that names the kind in a recipe.
        default: the kind where none is named; None: one must be named.
    """

    def __init__(self, field: str, default: str | None = None) -> None:
        self.field, self.default = field, default
        self.kinds: dict[str, type[K]] = {}

    def add(self, kind: type[K]) -> type[K]:
        """Adds a section that was defined with `tag_field=field, tag=<its name>`; a decorator."""
        self.kinds[str(_tag(kind))] = kind
        return kind

    def chosen(self, values: Any) -> type[K] | None:
        """The kind that these values of a section have; None where they name no known kind."""
        name = values.get(self.field, self.default) if isinstance(values, dict) else self.default
        return self.kinds.get(name) if isinstance(name, str) else None

    def read(self, values: Any) -> K:
        """The section with these values.

        Raises:
            ValueError: they are wrong; the message and the path are msgspec's.
        """
        kind = self.chosen(values)
        try:
            if kind is not None:
                return msgspec.convert(values, kind, dec_hook=decode_value)
            if not isinstance(values, dict):
                return msgspec.convert(values, next(iter(self.kinds.values())))
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error
        if self.field not in values:
            raise ValueError(f"Object missing required field `{self.field}`")
        if not isinstance(values[self.field], str):
            raise ValueError(f"Expected `str`, got `other` - at `$.{self.field}`")
        raise ValueError(f"Invalid enum value - at `$.{self.field}`")


class Kind:
    """Base of every section of which there are several kinds."""

    registry: ClassVar[Registry[Any]]
    # The function that builds the thing itself, "module:function": not imported here, since it needs torch.
    implementation: ClassVar[str]

    @property
    def kind(self) -> str:
        """Its name in the registry."""
        return str(_tag(type(self)))

    def build(self, *arguments: Any) -> Any:
        """Calls its implementation with this section and these arguments."""
        module, _, name = self.implementation.partition(":")
        return attrgetter(name)(importlib.import_module(module))(self, *arguments)


def replaced(section: K, **changes: Any) -> K:
    """A copy of a section with other values, whatever its kind."""
    assert isinstance(section, Struct)
    return structs.replace(section, **changes)


def _tag(kind: type) -> Any:
    assert issubclass(kind, Struct)
    return kind.__struct_config__.tag


def is_section(kind: Any) -> bool:
    """Whether this is the type of a part of a recipe that has values of its own, such as `optimizer`."""
    return isinstance(kind, type) and issubclass(kind, (Struct, Kind))


def struct_of(section: Any, values: Any) -> type[Struct] | None:
    """The struct that a section's values are read as; None: not of a known kind, or not a section."""
    if not is_section(section):
        return None
    chosen: type[Struct] | None = section.registry.chosen(values) if issubclass(section, Kind) else section
    return chosen


def fields_of(section: Any, values: Any) -> dict[str, Any]:
    """The types of a section's fields by name, with the one that names its kind; empty: not a section."""
    fields: dict[str, Any] = {}
    if is_section(section) and issubclass(section, Kind):
        fields[section.registry.field] = Literal[tuple(section.registry.kinds)]
    if (struct := struct_of(section, values)) is not None:
        types = get_type_hints(struct)
        fields |= {name: types[name] for name in struct.__struct_fields__}
    return fields


def decode_value(expected: type, value: Any) -> Any:
    """Reads what msgspec does not read by itself: exact fractions, and sections with several kinds."""
    if expected is Fraction:
        return read_fraction(value)
    if issubclass(expected, Kind):
        return expected.registry.read(value)
    raise NotImplementedError(f"a recipe cannot hold {expected.__name__}")


def encode_value(value: Any) -> Any:
    """Writes exact fractions, for YAML and JSON."""
    if isinstance(value, Fraction):
        return format_fraction(value)
    raise NotImplementedError(f"a recipe cannot hold {type(value).__name__}")
