"""What a kind of node or step is: its name, its parameters, what it gives, where it may go on, how it may fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.formats import ANY_CASE, TIME_LIMIT, TIME_SPAN, WEB_ADDRESS

NODE_FAILED = "FlowRunner.NodeFailed"  # the error of a kind that documents no other
TIMEOUT = "States.Timeout"  # what the States Language calls a state that took too long
_SCRIPT = "text/javascript"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindInfo:
    """One kind.

    `parameters` is a JSON Schema (2020-12) of the ``params`` of a node (the ``config`` of a step), `outputs` one of what it gives.
    `actions` are the names of edges that it picks by itself; an empty tuple means any name. `errors` are (name, when) beside
    ``States.Timeout``. `retried` are actions that tell of a failure: with ``retry``, the node of a flow is tried again for them. `pure`: nothing can be seen of it outside, so it may simply be run again. `structural`: the front ends
    make states of it, and no handler ever meets it. `aliases` are further names under which it may be written.
    """

    name: str
    title: str
    description: str
    parameters: JSONObject
    outputs: JSONObject
    actions: tuple[str, ...] = ("success",)
    errors: tuple[tuple[str, str], ...] = ()
    pure: bool = False
    structural: bool = False
    aliases: tuple[str, ...] = ()
    retried: tuple[str, ...] = ()

    def scripts(self) -> frozenset[str]:
        """The parameters that hold JavaScript: what looks like an expression in them is the script's own."""
        return frozenset(name for name, part in self.parameters.get("properties", {}).items() if part.get("contentMediaType") == _SCRIPT)

    def javascript(self, params: JSONObject) -> Iterator[tuple[tuple[str, ...], str]]:
        """The scripts among given parameters, with their places; none when they say that they are in another language.

        One that is not a parameter itself may hold expressions, which are filled in before it runs; such a one is left out.
        """
        language = self.parameters.get("properties", {}).get("language", {})
        if "javascript" not in language.get("enum", ()) or params.get("language", "javascript") == "javascript":
            for place, source in _scripts(self.parameters, params):
                if len(place) == 1 or "${" not in source:
                    yield place, source


def _scripts(schema: JSONObject, value: JSONValue) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str) and schema.get("contentMediaType") == _SCRIPT:
        yield (), value
    if not isinstance(value, dict):
        return
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name, part in value.items():
        inner = known.get(name, others)
        if isinstance(inner, dict):
            yield from (((name, *place), source) for place, source in _scripts(inner, part))


# --- the parts of a schema


def text(description: str, **more: JSONValue) -> JSONObject:
    """A text."""
    return {"type": "string", "description": description, **more}


def script(description: str) -> JSONObject:
    """JavaScript: the body of a function, or one expression."""
    return text(description, contentMediaType=_SCRIPT)


def choice(description: str, *words: str, default: str | None = None, **more: JSONValue) -> JSONObject:
    """One of these words."""
    return text(description, enum=list(words), **({} if default is None else {"default": default}), **more)


def word(description: str, *words: str) -> JSONObject:
    """One of these words, in large or small letters."""
    return choice(f"{description} In large or small letters.", *words, format=ANY_CASE)


def unused(description: str) -> JSONObject:
    """A parameter of older definitions that does nothing here; `description` says why it need not."""
    return {"description": description, "deprecated": True}


def integer(description: str, *, minimum: int | None = None, maximum: int | None = None, default: int | None = None) -> JSONObject:
    """A whole number."""
    return _number("integer", description, minimum, maximum, default)


def number(description: str, *, minimum: float | None = None, maximum: float | None = None, default: float | None = None) -> JSONObject:
    """A number."""
    return _number("number", description, minimum, maximum, default)


def address(description: str) -> JSONObject:
    """Where something is on the web: ``http://`` or ``https://``."""
    return text(description, format=WEB_ADDRESS)


def boolean(description: str, *, default: bool | None = None) -> JSONObject:
    """True or false."""
    return {"type": "boolean", "description": description, **({} if default is None else {"default": default})}


def duration(description: str, default: str | None = None, *, limit: bool = False) -> JSONObject:
    """A number of seconds, or a text with units such as ``1m30s``; a `limit` is more than nothing."""
    shown = f"{description} A number of seconds, or a text with units (ns, us, ms, s, m, h, d) such as `1m30s`."
    form = TIME_LIMIT if limit else TIME_SPAN
    return {"type": ["string", "number"], "description": shown, "format": form, **({} if default is None else {"default": default})}


def anything(description: str) -> JSONObject:
    """Any JSON value."""
    return {"description": description}


def texts(description: str) -> JSONObject:
    """A list of texts."""
    return listed(description, {"type": "string"})


def text_or_texts(description: str) -> JSONObject:
    """One text or a list of texts."""
    return {"type": ["string", "array"], "items": {"type": "string"}, "description": description}


def listed(description: str, items: JSONObject | None = None) -> JSONObject:
    """A list."""
    return {"type": "array", "description": description, **({} if items is None else {"items": items})}


def mapping(description: str) -> JSONObject:
    """An object whose names are the author's."""
    return {"type": "object", "description": description}


def fields(
    properties: Mapping[str, JSONObject], *required: str, description: str | None = None, closed: bool = True, any_of: tuple[str, ...] = ()
) -> JSONObject:
    """An object of these fields; `closed` allows no others, `any_of` asks for at least one of some."""
    made: JSONObject = {"type": "object", "properties": dict(properties), "required": list(required), "additionalProperties": not closed}
    if any_of:
        made["anyOf"] = [{"required": [name]} for name in any_of]
    return made if description is None else {"description": description, **made}


def _number(kind: str, description: str, minimum: float | None, maximum: float | None, default: float | None) -> JSONObject:
    given = {"minimum": minimum, "maximum": maximum, "default": default}
    return {"type": kind, "description": description, **{name: value for name, value in given.items() if value is not None}}
