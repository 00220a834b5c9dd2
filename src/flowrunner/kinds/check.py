"""Whether parameters are what a kind asks for: the part of JSON Schema that `info` uses, with messages that name place and remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.formats import ANY_CASE, FORMATS

INVALID_PARAMETER, UNKNOWN_FIELD, EFFECTLESS = "INVALID_PARAMETER", "UNKNOWN_FIELD", "HAS_NO_EFFECT"
_EXPRESSION = re.compile(r"\$\{|\{\{")


@dataclass(frozen=True, slots=True)
class Finding:
    """`pointer` (RFC 6901, below the parameters), what is wrong there, what would mend it, and the code of it.

    `severe`: it cannot be what the author means; else it is a parameter of older definitions that does nothing here.
    """

    pointer: str
    message: str
    severe: bool = True
    hint: str = ""
    code: str = INVALID_PARAMETER


def is_open(value: JSONValue) -> bool:
    """Whether a value is an expression that will be something else at run time."""
    return isinstance(value, str) and _EXPRESSION.search(value) is not None


def findings(schema: JSONObject, value: JSONValue, *, expressions: bool = True, pointer: str = "", about: str = "") -> Iterator[Finding]:
    """Everything that is wrong with `value`; where it has an expression (and `expressions` are allowed), anything may come of it.

    `about` is the remedy where the schema describes nothing.
    """
    if expressions and is_open(value):
        return
    allowed = schema.get("type")
    names = [allowed] if isinstance(allowed, str) else allowed
    about = schema.get("description", about)
    wrong, hint = _wrong(schema, value, names, about)
    if wrong is not None:
        yield Finding(pointer, wrong, hint=hint)
    if names is not None and not any(is_type(value, name) for name in names):
        return
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from findings(schema["items"], item, expressions=expressions, pointer=f"{pointer}/{index}", about=about)
    if isinstance(value, dict):
        yield from _of_object(schema, value, expressions, pointer)


def place_in(value: JSONValue, pointer: str) -> tuple[str | int, ...]:
    """The names and indexes of a finding's pointer into `value`."""
    place: list[str | int] = []
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        key: str | int = int(name) if isinstance(value, list) else name
        place.append(key)
        value = value[key]
    return tuple(place)


def _wrong(schema: JSONObject, value: JSONValue, names: list[str] | None, about: str) -> tuple[str | None, str]:
    """What the value must be, when it is not, and the remedy."""
    if names is not None and not any(is_type(value, name) for name in names):
        return f"must be {_listed([_ARTICLE[name] for name in names])}, not {_ARTICLE[type_of(value)]}", about
    if "enum" in schema and _in_case(schema, value) not in schema["enum"]:
        return f"must be one of {', '.join(map(str, schema['enum']))}", _meant(value, schema["enum"]) or about
    if isinstance(value, int | float) and not isinstance(value, bool):
        if "minimum" in schema and value < schema["minimum"]:
            return f"must be {schema['minimum']} or more", about
        if "maximum" in schema and value > schema["maximum"]:
            return f"must be {schema['maximum']} or less", about
    judge = None if isinstance(value, list) else FORMATS.get(schema.get("format", ""))
    return (None if judge is None else judge(value)), about


def _in_case(schema: JSONObject, value: JSONValue) -> JSONValue:
    return value.lower() if isinstance(value, str) and schema.get("format") == ANY_CASE else value


def _of_object(schema: JSONObject, value: JSONObject, expressions: bool, pointer: str) -> Iterator[Finding]:  # noqa: FBT001 - handed through
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            about = properties.get(name, {}).get("description", "")
            yield Finding(pointer, f"{name} is missing: {about}".rstrip(":. "), hint=f"Add {name}.")
    ways = [name for way in schema.get("anyOf", ()) for name in way["required"]]
    if ways and not any(name in value for name in ways):
        yield Finding(pointer, f"{ways[0]} is missing, or {' or '.join(ways[1:])}: {properties[ways[0]]['description']}".rstrip("."), hint=f"Add {ways[0]}.")
    for name, part in value.items():
        place = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
        if properties.get(name, {}).get("deprecated"):
            yield Finding(place, "has no effect", severe=False, hint=properties[name]["description"], code=EFFECTLESS)
        if name in properties:
            yield from findings(properties[name], part, expressions=expressions, pointer=place)
        elif schema.get("additionalProperties") is False:
            yield Finding(place, "is not known here", hint=_meant(name, list(properties)) or f"There are: {', '.join(properties)}.", code=UNKNOWN_FIELD)


_ARTICLE = {
    "string": "a text", "number": "a number", "integer": "a whole number", "boolean": "true or false", "array": "a list", "object": "an object", "null": "null",
}  # fmt: skip


def type_of(value: JSONValue) -> str:
    """JSON Schema's name for the type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    return {float: "number", str: "string", list: "array", dict: "object"}[type(value)]


def is_type(value: JSONValue, name: str) -> bool:
    """Whether a value is of the type with this name."""
    found = type_of(value)
    return found == name or (found == "integer" and name == "number")


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def _meant(word: JSONValue, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1) if isinstance(word, str) else []
    return f"Did you mean {close[0]}?" if close else ""
