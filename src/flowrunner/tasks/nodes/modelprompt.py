"""The conversation that a node's parameters ask for: one list of messages, whatever form they have.

A message is ``{role: system|user|assistant|tool, content, tool_calls?, tool_call_id?}``; a tool call ``{id, name, arguments}``.
"""

from __future__ import annotations

import re

from flowrunner.jsonvalue import JSONObject, JSONValue, dumps
from flowrunner.tasks.nodes.reading import Params, bad, given, listing, mapping, optional_text, text

_ROLES = ("system", "user", "assistant", "tool")
_PLACE = re.compile(r"\{\{\s*\.?([A-Za-z_][\w.]*)\s*\}\}")


def conversation(params: Params, input_value: JSONValue) -> list[JSONObject]:
    """The messages; ``input.question`` is asked instead of the prompt. Raises NodeFailed when nothing is asked."""
    messages = [_message(one) for one in listing(params, "messages")]
    for one in listing(params, "templates"):
        if not isinstance(one, dict):
            raise bad("The parameter 'templates' must be a list of objects with role and template.")
        filled = fill(text(one, "template", "content"), mapping(params, "context"))
        messages.append(_message({"role": one.get("role", "user"), "content": filled}))
    system = optional_text(params, "system")
    if system:
        messages.insert(0, {"role": "system", "content": system})
    question = input_value.get("question") if isinstance(input_value, dict) else None
    if isinstance(question, str) and question:
        asked: str | None = question
    elif (template := optional_text(params, "template")) is not None:
        asked = fill(template, mapping(params, "variables"))
    else:
        asked = optional_text(params, "prompt")
    if asked:
        messages.append({"role": "user", "content": asked})
    if not any(one["role"] != "system" for one in messages):
        raise bad("Nothing is asked: give 'prompt', 'messages', 'template' or 'templates'.")
    return messages


def fill(template: str, values: JSONObject) -> str:
    """`template` with each ``{{name}}`` (a path with dots) replaced once; what was put in is not read again. Raises NodeFailed."""

    def value(match: re.Match[str]) -> str:
        found: JSONValue = values
        for name in match[1].split("."):
            if not isinstance(found, dict) or name not in found:
                raise bad(f"The template names {match[1]!r}, which has no value.")
            found = found[name]
        return found if isinstance(found, str) else dumps(found)

    return _PLACE.sub(value, template)


def tools_of(params: Params) -> list[JSONObject]:
    """Tools as ``{name, description, parameters}``, from that form or a provider's. Raises NodeFailed."""
    return [tool_of(one) for one in [*listing(params, "tools"), *listing(params, "functions")]]


def tool_of(one: JSONValue) -> JSONObject:
    """One tool in its one form."""
    given_tool = one.get("function", one) if isinstance(one, dict) else None
    name = given_tool.get("name") if isinstance(given_tool, dict) else None
    if not isinstance(given_tool, dict) or not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise bad("The parameter 'tools' must be a list of objects, each with a name of letters, digits, _ and -.")
    schema = given(given_tool, "parameters", "input_schema")
    return {
        "name": name,
        "description": str(given_tool.get("description") or ""),
        "parameters": schema if isinstance(schema, dict) else {"type": "object", "properties": {}},
    }


def _message(one: JSONValue) -> JSONObject:
    if not isinstance(one, dict) or one.get("role") not in _ROLES:
        raise bad(f"The parameter 'messages' must be a list of objects with role ({', '.join(_ROLES)}) and content.")
    return one
