"""Request bodies: strict JSON into declared shapes; a member that nobody declared is refused, with its place."""

from __future__ import annotations

import asyncio
import re
from typing import Any, TypeVar

import msgspec
import msgspec.inspect
from litestar import Request

from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import MAX_DEPTH, JSONValue, depth, loads, repeated_name
from flowrunner.reading.document import Pointers
from flowrunner.reading.findings import bounded

Shape = TypeVar("Shape", bound=msgspec.Struct)
SHOWN_CHARACTERS = 200  # of a name in a message
BODY = "json_body"  # in the scope: the body, once it was read
THREAD_BYTES = 32_768  # places in larger bodies are looked for beside the event loop
_AT = re.compile(r" - at `(?:key` in `)?\$(.*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")


async def object_of(request: Request[Any, Any, Any]) -> JSONValue:
    """The body as a JSON value, an empty one as ``{}``. Raises InvalidDocument for what is not strict JSON, too deep, or has a name twice."""
    raw = await request.body()
    value = loads(raw) if raw.strip() else {}
    if depth(value) > MAX_DEPTH:
        raise InvalidDocument(f"The body is nested more than {MAX_DEPTH} levels deep.")
    scope: Any = request.scope
    scope[BODY] = raw
    name = repeated_name(raw, value)
    if name is not None:
        raise InvalidDocument(f"The body has the name '{name[:SHOWN_CHARACTERS]}' twice in one object.", remedy="Take one of them out.")
    return value


async def body_of(request: Request[Any, Any, Any], shape: type[Shape]) -> Shape:
    """The body as a `shape` (with ``forbid_unknown_fields``); an empty one as ``{}``. Raises InvalidDocument with a JSON pointer."""
    value = await object_of(request)
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise await located(request, _refusal(str(error), shape)) from None


async def places_in(request: Request[Any, Any, Any]) -> Pointers | None:
    """Where the parts of the body stand in it, once it was read as JSON; None for an empty one."""
    raw = await request.body()
    text = raw.decode(errors="replace")
    if not text.strip():
        return None
    return await asyncio.to_thread(Pointers, text) if len(raw) > THREAD_BYTES else Pointers(text)


async def located(request: Request[Any, Any, Any], error: InvalidDocument) -> InvalidDocument:
    """The error with line and column of its pointer in the body."""
    places = await places_in(request)
    if places is not None:
        error.line, error.column = places(error.pointer)
    return error


def place_at_once(scope: Any, error: InvalidDocument) -> None:
    """Give an error about a part of the body line and column, as long as that keeps nobody waiting."""
    raw: bytes = scope.get(BODY, b"")
    if error.pointer and not error.line and raw.strip() and len(raw) <= THREAD_BYTES:
        places = Pointers(raw.decode(errors="replace"))
        if places.begins(error.pointer):
            error.line, error.column = places(error.pointer)


def _refusal(text: str, shape: type[msgspec.Struct]) -> InvalidDocument:
    """What the reader of the shape says, with a pointer and a remedy."""
    found = _AT.search(text)
    message = _AT.sub("", text)
    # What stands under a name of the caller's own has no pointer there: the object around it is told.
    path, inside, _ = ("", "", "") if found is None else found[1].partition("[...]")
    pointer = re.sub(r"\.|\[(\d+)\]", lambda part: f"/{part[1] or ''}", path)
    if inside:
        return InvalidDocument(f"{message}.", pointer=pointer, remedy="Write what the reference says of its members.")
    if missing := _MISSING.fullmatch(message):
        return InvalidDocument(f"{message}.", pointer=f"{pointer}/{missing[1]}", remedy="Add it.")
    if unknown := _UNKNOWN.fullmatch(message):
        name = unknown[1].replace("~", "~0").replace("/", "~1")
        members = ", ".join(field.encode_name for field in msgspec.structs.fields(shape))
        known = "" if pointer else f" The body may have {members}."
        return InvalidDocument(f"{bounded(message)}.", pointer=bounded(f"{pointer}/{name}"), remedy=f"Take it out.{known}")
    if message.startswith("Invalid enum value") and (values := _values(shape, pointer)):
        return InvalidDocument(f"{bounded(message)}.", pointer=pointer, remedy=f"It must be one of {', '.join(values)}.")
    return InvalidDocument(f"{message}.", pointer=pointer or "/", remedy="Write a value of the kind that the message names.")


def _values(shape: type[msgspec.Struct], pointer: str) -> list[str]:
    """The values that the member at `pointer` may have; none when that is not a choice of a few."""
    parts = _plain(msgspec.inspect.type_info(shape))
    for name in pointer.split("/")[1:]:
        parts = [inner for part in parts for inner in _within(part, name)]
    values: list[str] = []
    for part in parts:
        if isinstance(part, msgspec.inspect.EnumType):
            values += [str(member.value) for member in part.cls]
        elif isinstance(part, msgspec.inspect.LiteralType):
            values += [str(value) for value in part.values]
    return values


def _within(part: msgspec.inspect.Type, name: str) -> list[msgspec.inspect.Type]:
    if isinstance(part, msgspec.inspect.StructType):
        return [inner for field in part.fields if field.encode_name == name for inner in _plain(field.type)]
    if isinstance(part, msgspec.inspect.ListType):
        return _plain(part.item_type)
    return []


def _plain(part: msgspec.inspect.Type) -> list[msgspec.inspect.Type]:
    return list(part.types) if isinstance(part, msgspec.inspect.UnionType) else [part]
