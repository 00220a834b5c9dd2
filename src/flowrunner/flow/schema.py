"""The format of flows as a JSON Schema, made of the same tables that the reader checks with: for editors, which complete and check by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowrunner.flow.fields import BATCH, EXTENSION, FLOW, HOOKS, METADATA, NODE, RETRY, Member, Members
from flowrunner.flow.node import NOT_IN_FLOWS
from flowrunner.jsonvalue import JSONObject
from flowrunner.kinds.info import KindInfo
from flowrunner.kinds.published import parameters_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DURATION = r"^\s*[0-9]+(\.[0-9]+)?((ns|us|µs|ms|s|m|h|d)([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))*)?\s*$"
_OPENING = r"\$\{"  # as a pattern
_TYPES: Mapping[str, JSONObject] = {
    "text": {"type": "string", "minLength": 1},
    "script": {"type": "string", "minLength": 1, "contentMediaType": "text/javascript"},
    "object": {"type": "object"},
    "flag": {"type": "boolean"},
    "texts": {"type": "array", "items": {"type": "string"}},
    "version": {"type": ["string", "number"]},
    "percent": {"type": "number", "minimum": 0, "maximum": 100},
    "duration": {"type": ["string", "number"], "minimum": 0, "pattern": _DURATION},
    "limit": {"type": ["string", "number"], "exclusiveMinimum": 0, "pattern": _DURATION},
    "edges": {"type": ["object", "string"], "additionalProperties": {"type": "string", "minLength": 1}},
    "any": {},
}


def flow_schema(kinds: Iterable[KindInfo]) -> JSONObject:
    """The schema; `kinds` are those that a node may have."""
    usable = sorted((kind for kind in kinds if kind.name not in NOT_IN_FLOWS), key=lambda kind: kind.name)
    flow = _object(FLOW, metadata={"$ref": "#/$defs/metadata"}, nodes={"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/$defs/node"}})
    node = _object(NODE, retry={"$ref": "#/$defs/retry"}, batch={"$ref": "#/$defs/batch"}, hooks={"$ref": "#/$defs/hooks"})
    node["properties"]["type"] = {
        "description": NODE["type"].meaning,
        "oneOf": [{"const": name, "title": kind.title, "description": kind.description} for kind in usable for name in names_of(kind)],
    }
    node["allOf"] = [_choice(kind) for kind in usable]
    return {
        "$schema": DIALECT,
        "title": "FlowRunner flow",
        "description": "A flow: nodes of many kinds, each of which picks the next by its action.",
        **flow,
        "patternProperties": {f"^{EXTENSION}": {}},
        "$defs": {
            "metadata": _object(METADATA),
            "node": node,
            "retry": _object(RETRY),
            "batch": _object(BATCH),
            "hooks": _object(HOOKS),
            **{_defined(kind): parameters_schema(kind.parameters, _OPENING) for kind in usable},
        },
    }


def names_of(kind: KindInfo) -> tuple[str, ...]:
    """What may be written as the type of a node of this kind."""
    return (kind.name, *kind.aliases)


def _defined(kind: KindInfo) -> str:
    return f"params.{kind.name}"


def _choice(kind: KindInfo) -> JSONObject:
    """What follows for a node from its type."""
    then: JSONObject = {"properties": {"params": {"$ref": f"#/$defs/{_defined(kind)}"}}}
    if kind.parameters.get("required") or "anyOf" in kind.parameters:
        then["required"] = ["params"]
    return {"if": {"properties": {"type": {"enum": list(names_of(kind))}}, "required": ["type"]}, "then": then}


def _object(members: Members, **given: JSONObject) -> JSONObject:
    properties = {name: {"description": member.meaning, **given.get(name, _member(member))} for name, member in members.items()}
    made: JSONObject = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [name for name, member in members.items() if member.required]
    return {**made, "required": required} if required else made


def _member(member: Member) -> JSONObject:
    if isinstance(member.type, tuple):
        made: JSONObject = {"type": "string", "enum": list(member.type)}
    elif member.type == "count":
        made = {"type": "integer", "minimum": member.least}
    else:
        made = dict(_TYPES[member.type])
    return made if member.default is None else {**made, "default": member.default}
