"""Request bodies: strict JSON into declared shapes; a member that nobody declared is refused, with its place."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from litestar import Request

from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import MAX_DEPTH, JSONValue, depth, loads, repeated_name

Shape = TypeVar("Shape", bound=msgspec.Struct)
SHOWN_CHARACTERS = 200  # of a name in a message
_AT = re.compile(r" - at `\$(.*)`$")


async def object_of(request: Request[Any, Any, Any]) -> JSONValue:
    """The body as a JSON value, an empty one as ``{}``. Raises InvalidDocument for what is not strict JSON, too deep, or has a name twice."""
    raw = await request.body()
    value = loads(raw) if raw.strip() else {}
    if depth(value) > MAX_DEPTH:
        raise InvalidDocument(f"The body is nested more than {MAX_DEPTH} levels deep.")
    name = repeated_name(raw, value)
    if name is not None:
        raise InvalidDocument(f"The body has the name '{name[:SHOWN_CHARACTERS]}' twice in one object.")
    return value


async def body_of(request: Request[Any, Any, Any], shape: type[Shape]) -> Shape:
    """The body as a `shape` (with ``forbid_unknown_fields``); an empty one as ``{}``. Raises InvalidDocument with a JSON pointer."""
    value = await object_of(request)
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        text = str(error)
        found = _AT.search(text)
        pointer = "" if found is None else re.sub(r"\.|\[(\d+|\.\.\.)\]", lambda part: f"/{part[1]}" if part[1] else "/", found[1])
        raise InvalidDocument(f"{_AT.sub('', text)}.", pointer=pointer) from None
