"""The format of step workflows as a JSON Schema, made of the same tables that the reader checks with: for editors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.info import KindInfo
from flowrunner.kinds.published import parameters_schema
from flowrunner.workflow.fields import BRANCH, EXTENSION, LOOP, MAPPER, NOT_IN_WORKFLOWS, OLDER_NAMES, RETRY, STEP, WITHOUT_EFFECT, WORKFLOW
from flowrunner.workflow.members import MORE
from flowrunner.workflow.templateuse import TEMPLATED

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
_OWN: JSONObject = {f"^{EXTENSION}": {}}
_OPENING = r"\{\{"  # of an expression, as a pattern
_EXCLUSIVE = (("retry", "retryCount"), ("loop", "loopOver"), ("loop", "loopCondition"), ("loopOver", "loopCondition"))
_TEXTS: JSONObject = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}


def workflow_schema(kinds: Iterable[KindInfo]) -> JSONObject:
    """The schema; `kinds` are those that there are, of which steps have those that do not belong to flows."""
    usable = sorted((kind for kind in kinds if kind.name not in NOT_IN_WORKFLOWS), key=lambda kind: kind.name)
    names = sorted({TEMPLATED, *(name for kind in usable for name in _names_of(kind))})
    children: JSONObject = {"children": {"$ref": "#/$defs/steps"}}
    step = object_schema(
        STEP,
        type={"enum": names},
        dependsOn=_TEXTS,
        retry={"$ref": "#/$defs/retry"},
        loop={"$ref": "#/$defs/loop"},
        dataMappers={"type": "array", "items": {"$ref": "#/$defs/dataMapper"}},
        branches={"type": "array", "items": {"$ref": "#/$defs/branch"}},
        onError={"enum": ["abort", "continue", "retry"]},
        elseChildren={"$ref": "#/$defs/steps"},
        **children,
    )
    step["allOf"] = [*map(_choice, usable), *({"not": {"required": list(pair)}} for pair in _EXCLUSIVE)]
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
            **{_defined(kind): _config(kind) for kind in usable},
        },
    }


def _names_of(kind: KindInfo) -> tuple[str, ...]:
    """What may be written as the type of a step of this kind."""
    return (kind.name, *kind.aliases, *(older for older, name in OLDER_NAMES.items() if name == kind.name and older not in kind.aliases))


def _defined(kind: KindInfo) -> str:
    return f"config.{kind.name}"


def _choice(kind: KindInfo) -> JSONObject:
    """What follows for a step from its type: its config, and whether it has steps within."""
    within = {"branch": (), "group": ("branches", "elseChildren"), "loop": ("branches", "elseChildren")}
    empty: JSONObject = {"maxItems": 0, "maxProperties": 0}
    none: JSONObject = dict.fromkeys(within.get(kind.name, ("branches", "elseChildren", "children")), empty)
    then: JSONObject = {"properties": {"config": {"$ref": f"#/$defs/{_defined(kind)}"}, **none}}
    return {"if": {"properties": {"type": {"enum": list(_names_of(kind))}}, "required": ["type"]}, "then": then}


def _config(kind: KindInfo) -> JSONObject:
    """The schema of a kind's config; what it must have may also come as input, by a data mapper or from a template."""
    if kind.name == "loop":
        return {"$ref": "#/$defs/loop"}
    made = {name: part for name, part in parameters_schema(kind.parameters, _OPENING).items() if name not in ("required", "anyOf")}
    properties: JSONObject = {**made["properties"], **{name: made["properties"].get(name, {}) for name in MORE.get(kind.name, ())}}
    if kind.name == "delay":
        properties["jitter"] = {"description": properties["jitter"]["description"], "anyOf": [{"type": "boolean"}, *properties["jitter"]["anyOf"]]}
    if "branches" in properties:
        properties["branches"] = {"type": "array", "items": {"$ref": "#/$defs/branch"}}
    steps = {name: {"$ref": "#/$defs/steps"} for name in ("children", "elseChildren") if name in properties}
    return {**made, "properties": {**properties, **steps}, "patternProperties": _OWN}


def object_schema(members: Mapping[str, str], **given: JSONValue) -> JSONObject:
    """An object with members of a table; `given` are the schemas of some that say more."""
    properties = {name: given.get(name, _TYPES[wanted]) for name, wanted in members.items() if name not in WITHOUT_EFFECT}
    return {"type": "object", "properties": properties, "patternProperties": _OWN, "additionalProperties": False}
