"""The parameters of kinds as editors see them: where the author may write an expression instead of a value."""

from __future__ import annotations

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.formats import ANY_CASE


def parameters_schema(schema: JSONObject, opening: str) -> JSONObject:
    """The schema of a kind's parameters where any value may also be a text with an expression; `opening` is the pattern of what begins one."""
    made = dict(schema)
    if "properties" in schema:
        made["properties"] = {name: _or_expression(part, opening) for name, part in schema["properties"].items()}
    if "items" in schema:
        made["items"] = _or_expression(schema["items"], opening)
    return made


def _any_case(words: list[str]) -> str:
    """The pattern of these words in large or small letters: patterns of JSON Schema have no flags."""
    letters = ["".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in one) for one in words]
    return f"^({'|'.join(letters)})$"


def _or_expression(schema: JSONObject, opening: str) -> JSONObject:
    kinds: JSONValue = schema.get("type")
    inner = parameters_schema(schema, opening)
    takes_text = kinds is None or "string" in ([kinds] if isinstance(kinds, str) else kinds)
    if takes_text and not {"enum", "pattern"} & schema.keys():
        return inner
    description = {"description": inner.pop("description")} if "description" in inner else {}
    words: JSONValue = inner.get("enum")
    cased = [{"type": "string", "pattern": _any_case(words)}] if inner.get("format") == ANY_CASE else []
    return {**description, "anyOf": [inner, *cased, {"type": "string", "pattern": opening}]}
