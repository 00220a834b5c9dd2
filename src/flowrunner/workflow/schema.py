"""The format of step workflows as a JSON Schema, made of the same tables that the reader checks with: for editors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.info import KindInfo
from flowrunner.workflow.fields import BRANCH, EXTENSION, LOOP, MAPPER, RETRY, STEP, WORKFLOW

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES: Mapping[str, JSONObject] = {
    "a text": {"type": "string"},
    "an object": {"type": "object"},
    "a list": {"type": "array"},
    "true or false": {"type": "boolean"},
    "a list or an object": {"type": ["array", "object"]},
    "a number": {"type": "number"},
    "a whole number": {"type": "integer"},
    "a number or a text": {"type": ["number", "string"]},
    "a text or true or false": {"type": ["string", "boolean"]},
    "anything": {},
}
_STEPS: JSONObject = {
    "oneOf": [
        {"type": "object", "additionalProperties": {"$ref": "#/$defs/step"}},
        {"type": "array", "items": {"allOf": [{"$ref": "#/$defs/step"}, {"required": ["id"]}]}},
    ]
}
_TEXTS: JSONObject = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}


def workflow_schema(kinds: Iterable[KindInfo]) -> JSONObject:
    """The schema; `kinds` are those that a step may have."""
    names = sorted({name for kind in kinds for name in (kind.name, *kind.aliases)})
    children = {"children": {"$ref": "#/$defs/steps"}}
    step = object_schema(
        STEP,
        type={"type": "string", "examples": names},
        dependsOn=_TEXTS,
        retry={"$ref": "#/$defs/retry"},
        loop={"$ref": "#/$defs/loop"},
        dataMappers={"type": "array", "items": {"$ref": "#/$defs/dataMapper"}},
        branches={"type": "array", "items": {"$ref": "#/$defs/branch"}},
        onError={"enum": ["abort", "continue", "retry"]},
        elseChildren={"$ref": "#/$defs/steps"},
        **children,
    )
    return {
        "$schema": DIALECT,
        "title": "FlowRunner workflow",
        "description": "A workflow: steps that start as soon as those they depend on have ended.",
        **object_schema(WORKFLOW, steps={"$ref": "#/$defs/steps"}),
        "required": ["steps"],
        "$defs": {
            "steps": _STEPS,
            "step": step,
            "retry": object_schema(RETRY, backoff={"enum": ["fixed", "linear", "exponential"]}),
            "loop": object_schema(LOOP, type={"enum": ["forEach", "while", "count"]}, **children),
            "branch": object_schema(BRANCH, **children),
            "dataMapper": object_schema(MAPPER),
        },
    }


def object_schema(members: Mapping[str, str], **given: JSONValue) -> JSONObject:
    """An object with members of a table; `given` are the schemas of some that say more."""
    properties = {name: given.get(name, _TYPES[wanted]) for name, wanted in members.items()}
    return {"type": "object", "properties": properties, "patternProperties": {f"^{EXTENSION}": {}}, "additionalProperties": False}
