"""Reading a recipe: YAML in, a checked `Recipe` out, and errors that point at the line to correct.

PyYAML composes the document into nodes, which know their places; values are taken from the nodes by
YAML 1.2's rules (so `1e-10` is a number and `no` is text), and msgspec checks them against the schema.
A recipe may come from a stranger: size, depth and aliases are bounded, tags and duplicate keys refused.
"""

import difflib
import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import msgspec
import yaml
from msgspec import structs

from linftui.errors import RecipeError
from linftui.files import open_regular
from linftui.recipe.schema import Recipe
from linftui.recipe.section import decode_value, encode_value, fields_of, is_section, replaced, struct_of
from linftui.user_folders import from_home

MAX_BYTES = 256 * 1024
MAX_NODES = 10_000
MAX_DEPTH = 20
MAX_DIGITS = 60  # of a whole number

_INT = re.compile(r"[-+]?\d+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_PLACE = re.compile(r" - at `\$([^`]*)`(?=$| - at `)")  # msgspec's, at the end of a message
_CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}

FieldPath = tuple[str, ...]


@dataclass(frozen=True)
class LoadedRecipe:
    """A checked recipe and its text; `stated` are the values that the text gives, by section."""

    recipe: Recipe
    source: str
    text: str
    overrides: tuple[str, ...] = ()
    stated: dict[str, Any] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the stated values, however they are spelt; checkpoints name their recipe by it.

        It is taken of the resolved recipe of a run, which states every value that existed when the run was
        made, so a later version's new fields with defaults do not change it. `data.root` is left out: the
        same data lie in different places on different machines.
        """
        recipe = structs.replace(self.recipe, data=replaced(self.recipe.data, root=None))
        values = _restricted(to_builtins(recipe), self.stated)
        return hashlib.sha256(msgspec.json.encode(values, order="deterministic")).hexdigest()


class _Loader(yaml.SafeLoader):
    """YAML without tags, which would turn a value into something else than it looks like."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if tag := getattr(event, "tag", None):
            problem = f"tags such as {tag} are not allowed in a recipe"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        return super().compose_node(parent, index)


class _Document:
    """Plain values of one YAML document (or override), and where each of them stands."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.places: dict[FieldPath, str] = {}
        self.plain: dict[FieldPath, str] = {}  # the words without quotes, as written
        self.nodes = 0

    def place(self, mark: yaml.Mark | None) -> str:
        return f"{self.source}:{mark.line + 1}:{mark.column + 1}" if mark else self.source

    def error(self, mark: yaml.Mark | None, message: str, hint: str = "") -> RecipeError:
        return RecipeError(f"{self.place(mark)}: {message}", hint)

    def parse(self, text: str) -> Any:
        try:
            root = yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            problem = " ".join(filter(None, (error.context, error.problem)))
            raise self.error(error.problem_mark, f"not valid YAML: {problem}") from error
        except yaml.YAMLError as error:
            raise RecipeError(f"{self.source}: not valid YAML: {str(error).splitlines()[0]}") from error
        except RecursionError:
            raise RecipeError(f"{self.source}: nested too deeply for a recipe") from None
        return None if root is None else self._value(root, ())

    def _value(self, node: yaml.Node, path: FieldPath) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            raise self.error(node.start_mark, "too large or too deep for a recipe (aliases count in full)")
        self.places[path] = self.place(node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(child, (*path, str(i))) for i, child in enumerate(node.value)]
        text = str(node.value)
        if any("\ud800" <= c <= "\udfff" for c in text):  # from an escape; no file can hold it
            raise self.error(node.start_mark, "half a surrogate pair is not text")
        plain = getattr(node, "style", None) is None
        if plain:
            self.plain[path] = text
        return _scalar(text, plain=plain)

    def _mapping(self, node: yaml.MappingNode, path: FieldPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(key_node.start_mark, "a key must be plain text")
            key = str(key_node.value)
            if key in values:
                raise self.error(key_node.start_mark, f"{_dotted((*path, key))} is given twice")
            values[key] = self._value(value_node, (*path, key))
            if value_node.start_mark.line < key_node.start_mark.line:  # an alias: its anchor is elsewhere
                self.places[(*path, key)] = self.place(key_node.start_mark)
            self.places[(*path, key, "<key>")] = self.place(key_node.start_mark)
        return values


def _scalar(text: str, *, plain: bool) -> Any:
    if not plain:  # quoted or block text stays text
        return text
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    if _INT.fullmatch(text) and len(text) <= MAX_DIGITS:
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def _dotted(path: Iterable[str]) -> str:
    return ".".join(path) or "the recipe"


def recipe_folders() -> list[Path]:
    """Where a recipe given by its bare name is looked for: in the current folder, then in the package."""
    package = Path(__file__).resolve().parents[1]
    return [Path("recipes"), package / "recipes", package.parent / "recipes"]


def find_recipe(name: str) -> Path:
    """The file of a recipe given as a path or as a bare name such as `digits`."""
    path = from_home(name)
    if path.is_file() or path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return path
    candidates = [folder / f"{name}.yaml" for folder in recipe_folders()]
    return next((candidate for candidate in candidates if candidate.is_file()), path)


def load_recipe(name: str | Path, overrides: Iterable[str] = ()) -> LoadedRecipe:
    """Reads, overrides and checks a recipe.

    Args:
        name: a path, or the bare name of a recipe in `recipes/`.
        overrides: `path=value` strings, such as `optimizer.lr=0.02`, applied in order.

    Raises:
        RecipeError: the file is missing, malformed, or says something impossible; the message starts
            with `file:line:column` (or with the override at fault).
    """
    if not str(name).strip():
        raise RecipeError("the recipe's name is empty", "give a recipe's name, or the path of a YAML file")
    try:
        path = find_recipe(str(name))
        with open_regular(path, follow_links=True) as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        known = sorted({p.stem for folder in recipe_folders() for p in folder.glob("*.yaml")})
        hint = f"recipes known by name: {', '.join(known)}" if known else "give the path of a YAML file"
        raise RecipeError(f"{name}: no such recipe", hint) from None
    except OSError as error:
        raise RecipeError(f"{name}: cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise RecipeError(f"{path} is too large for a recipe (at most {MAX_BYTES:,} bytes)")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: byte {error.start} is not UTF-8 text; a recipe is YAML") from error
    return parse_recipe(text, str(path), overrides)


def parse_recipe(text: str, source: str, overrides: Iterable[str] = ()) -> LoadedRecipe:
    """`load_recipe` for a text; `source` is its name in errors."""
    document = _Document(source)
    values = document.parse(text)
    if not isinstance(values, dict):
        raise RecipeError(f"{source}:1:1: a recipe is a mapping of sections, got {_shown(values)}")
    kept = tuple(overrides)
    for override in kept:
        _apply_override(values, document, override)
    _refuse_unknown_keys(values, Recipe, (), document.places)
    try:
        recipe = msgspec.convert(values, Recipe, dec_hook=decode_value)
    except msgspec.ValidationError as error:
        raise _explain(str(error), values, document) from error
    return LoadedRecipe(recipe, source, text, kept, values)


def _apply_override(values: dict[str, Any], document: _Document, override: str) -> None:
    dotted, equals, text = override.partition("=")
    path = tuple(part.strip() for part in dotted.split("."))
    if not equals or not all(path):
        raise RecipeError(f"--set {override}: expected path=value", "for example --set optimizer.lr=0.02")
    label = f"--set {override}"
    part = _Document(label)
    value = part.parse(text)
    target: Any = values
    for depth, key in enumerate(path[:-1], start=1):
        if target.get(key) is None:
            target[key] = {}
        target = target[key]
        if not isinstance(target, dict) or _is_field(path[:depth], values):
            raise RecipeError(f"{label}: {_dotted(path[:depth])} is a value, not a section")
    target[path[-1]] = value
    places = document.places
    for known in (places, document.plain):
        for old in [place for place in known if place[: len(path)] == path]:
            del known[old]
    for depth in range(1, len(path) + 1):
        places[(*path[:depth], "<key>")] = label
    places.update({(*path, *inner): label for inner in part.places})
    places[path] = label
    document.plain.update({(*path, *inner): word for inner, word in part.plain.items()})


def _is_field(path: FieldPath, values: Any) -> bool:
    """Whether a recipe has a value at this path, and not a section; an unknown path has neither."""
    field = _type_at(path, values)
    return field is not None and not is_section(field)


def _refuse_unknown_keys(values: Any, section: Any, path: FieldPath, places: dict[FieldPath, str]) -> None:
    if not isinstance(values, dict) or struct_of(section, values) is None:
        return  # a wrong type or kind is reported when the value is read
    types = fields_of(section, values)
    for key, value in values.items():
        if key not in types:
            near = difflib.get_close_matches(key, types, n=1, cutoff=0.5)
            hint = f"did you mean {_dotted((*path, near[0]))}?" if near else f"known here: {', '.join(types)}"
            place = places.get((*path, key, "<key>"), "")
            raise RecipeError(f"{place}: unknown key {_dotted((*path, key)) if key else repr(key)}", hint)
        _refuse_unknown_keys(value, types[key], (*path, key), places)


_TYPES = {
    "float": "a number",
    "int": "a whole number",
    "str": "text",
    "bool": "true or false",
    "object": "a section of keys",
    "null": "null",
}


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a section of keys"
    if isinstance(value, list):
        return "a list"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _explain(message: str, values: Any, document: _Document) -> RecipeError:
    """msgspec's complaint in the project's words: place, field, rule, value."""
    text, path = _split(message)
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", text):
        path = (*path, missing[1])
        return RecipeError(f"{_place_of(path, document)}: {_dotted(path)} is missing")
    # Our own messages start with the field they are about, as seen from the section that raised them.
    owner = tuple(text.split(" ", 1)[0].split("."))
    if owner[0] in fields_of(_type_at(path, values), _lookup(values, path)):
        prefix = f"{_dotted(path)}." if path else ""
        return RecipeError(f"{_place_of((*path, *owner), document)}: {prefix}{text}")
    choices = _choices(path, values)
    rule, hint = _rule(text, choices), ""
    if rule is not None:
        value = _lookup(values, path)
        text = f"must be {rule}, got {_shown(value)}"
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"did you mean {near[0]}?" if near else "" if choices else _how_to_quote(rule, path, document)
    return RecipeError(f"{_place_of(path, document)}: {_dotted(path)} {text}", hint)


def _split(message: str) -> tuple[str, FieldPath]:
    """The problem, and its place: msgspec gives a field's place before that of its section with kinds."""
    text, *places = _PLACE.split(message)
    return text, tuple(part for place in reversed(places) for part in place.split(".") if part)


def _how_to_quote(rule: str, path: FieldPath, document: _Document) -> str:
    """A hint at how to quote a word that YAML takes for a number, or for true, in a field that holds text."""
    word = document.plain.get(path)
    if not word or not rule.startswith(_TYPES["str"]):
        return ""
    quoted = f'"{word}"'
    if document.places[path].startswith("--set "):
        quoted = f"--set '{_dotted(path)}={quoted}'"  # the quotes that the shell leaves
    return f"quote it: {quoted}"


def _rule(text: str, choices: tuple[str, ...]) -> str | None:
    if text.startswith("Expected `str` matching regex"):
        return "a plain name: letters, digits, dots, dashes and underscores, 64 at most"
    if bound := re.fullmatch(r"Expected `\w+` ([<>]=?) (\S+)", text):
        return f"{bound[1]} {bound[2].removesuffix('.0')}"
    if wrong := re.fullmatch(r"Expected `([^`]+)`, got `[^`]+`", text):
        return " or ".join(_TYPES.get(name, name) for name in wrong[1].split(" | "))
    if text.startswith("Invalid enum value"):
        return f"one of {', '.join(choices)}"
    return None


def _choices(path: FieldPath, values: Any) -> tuple[str, ...]:
    """The texts that a field of a Literal type may hold."""
    return tuple(choice for choice in get_args(_type_at(path, values)) if isinstance(choice, str))


def _type_at(path: FieldPath, values: Any) -> Any:
    """The type of the value at a path; None where a recipe has no such field."""
    found: Any = Recipe
    for key in path:
        found = fields_of(found, values).get(key)
        values = values.get(key) if isinstance(values, dict) else None
    return found


def _lookup(values: Any, path: FieldPath) -> Any:
    for key in path:
        values = values[key]
    return values


def _place_of(path: FieldPath, document: _Document) -> str:
    """The place of a field, or of the nearest section around it."""
    for depth in range(len(path), -1, -1):
        if path[:depth] in document.places:
            return document.places[path[:depth]]
    return document.source


def dump_recipe(recipe: Recipe) -> str:
    """The recipe with every value written out, as YAML that `parse_recipe` reads back to an equal one."""
    return yaml.dump(to_builtins(recipe), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Also quotes what only YAML 1.2 takes for a number, such as a run called 1e5, and odd line breaks."""


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    plain = isinstance(_scalar(text, plain=True), str) and text.isprintable()
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _represent_text)


def to_builtins(recipe: Recipe) -> Any:
    """The recipe as plain dicts, for JSON; fractions become text such as "8/255"."""
    return msgspec.to_builtins(recipe, enc_hook=encode_value)


def _restricted(values: Any, stated: Any) -> Any:
    """The values of nested sections whose keys are stated."""
    if not isinstance(values, dict) or not isinstance(stated, dict):
        return values
    return {key: _restricted(value, stated[key]) for key, value in values.items() if key in stated}


def resolved(recipe: Recipe) -> LoadedRecipe:
    """The recipe as a run keeps it, with every value written out."""
    return parse_recipe(dump_recipe(recipe), recipe.name)
