"""Request bodies: strict JSON into declared shapes; a member that nobody declared is refused, with its place."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from litestar import Request

from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import loads

Shape = TypeVar("Shape", bound=msgspec.Struct)
_AT = re.compile(r" - at `\$(.*)`$")


async def body_of(request: Request[Any, Any, Any], shape: type[Shape]) -> Shape:
    """The body as a `shape` (with ``forbid_unknown_fields``); an empty one as ``{}``. Raises InvalidDocument with a JSON pointer."""
    raw = await request.body()
    value = loads(raw) if raw.strip() else {}
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        text = str(error)
        found = _AT.search(text)
        pointer = "" if found is None else re.sub(r"\.|\[(\d+|\.\.\.)\]", lambda part: f"/{part[1]}" if part[1] else "/", found[1])
        raise InvalidDocument(f"{_AT.sub('', text)}.", pointer=pointer) from None
