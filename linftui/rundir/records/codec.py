"""How records become lines of JSON and are read back, in this version and in older ones."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from linftui.recipe.bounds import GREATEST_SEED
from linftui.text import GREATEST_COUNT

VERSION = 2
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
