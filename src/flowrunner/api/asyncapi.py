"""The AsyncAPI 3.0 document of the live sockets, written from the tables that their messages are made by."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import orjson
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from flowrunner import __version__
from flowrunner.api.contract import JSON, Contract
from flowrunner.api.historyshapes import events_of, shape_of
from flowrunner.api.identify import PUBLIC
from flowrunner.api.livemessages import ASKED, DETAILS, PAYLOADS, SAID
from flowrunner.api.messages import STATE_KINDS, VERSION
from flowrunner.api.socket_v1 import SOCKET
from flowrunner.api.streams import STREAM

ASYNCAPI = "/asyncapi.json"
RUN, EXECUTIONS = "run", "executions"
_REF = "#/components/schemas/{name}"
_TEXT: dict[str, Any] = {"type": "string"}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_PLACE: dict[str, Any] = {"type": "integer", "minimum": 0}
_WITHOUT_PLACE = frozenset({"end"})  # a message that is no record's
_SOMETIMES_WITHOUT = frozenset({"status"})  # the one of a node is told with the step_start behind it
Schemas = Mapping[type, Mapping[str, Any]]


def document() -> dict[str, Any]:
    """The document: each socket with what is said on it, and each message with its JSON Schema."""
    shapes = [*PAYLOADS.values(), *DETAILS.values(), *(shape_of(kind) for kind in events_of()), *ASKED.values(), *(shape for _, shape, _ in SAID.values())]
    kinds = list(dict.fromkeys(shape for shape in shapes if shape is not None and issubclass(shape, msgspec.Struct)))
    found, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schemas = dict(zip(kinds, found, strict=True))
    messages = {
        RUN: {kind: _of_run(kind, schemas) for kind in PAYLOADS} | {kind: _of_history(kind, events, components) for kind, events in events_of().items()},
        EXECUTIONS: {kind: _said(kind, schemas) for kind in SAID},
        "client": {kind: _message(kind, _meaning(shape), dict(schemas[shape])) for kind, shape in ASKED.items()},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "FlowRunner",
            "version": __version__,
            "description": "Executions as they go, by WebSocket. The messages of a run also come as server-sent events and by long polling: see `/openapi.json`.",
        },
        "defaultContentType": JSON,
        "channels": {RUN: _run_channel(messages[RUN]), EXECUTIONS: _executions_channel(messages[EXECUTIONS], messages["client"])},
        "operations": {
            "followRun": _operation("send", RUN, RUN, messages[RUN], "Its past, then what happens, then the end."),
            "followExecutions": _operation("send", EXECUTIONS, EXECUTIONS, messages[EXECUTIONS], "What a client has subscribed to, and the answers to it."),
            "command": _operation("receive", EXECUTIONS, "client", messages["client"], "What a client asks for."),
        },
        "components": {
            "messages": {_key(side, kind): made for side, told in messages.items() for kind, made in told.items()},
            "schemas": {name: _cleaned(schema) for name, schema in components.items()},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}, "basic": {"type": "http", "scheme": "basic"}},
        },
    }


def _key(side: str, kind: str) -> str:
    return f"{side}.{kind}"


def _name(side: str, kind: str) -> str:
    """What a message is called in its channel, where clients and servers may use the same words."""
    return kind if side != "client" else _key(side, kind)


def _meaning(shape: type) -> str:
    return inspect.getdoc(shape) or ""


def _cleaned(schema: Mapping[str, Any]) -> dict[str, Any]:
    told = {"description": inspect.cleandoc(schema["description"])} if "description" in schema else {}
    return {**schema, **told}


def _message(kind: str, meaning: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": kind, "summary": meaning.partition("\n")[0], "payload": payload}


def _object(properties: Mapping[str, Any], optional: Iterable[str] = ()) -> dict[str, Any]:
    left_out = set(optional)
    return {"type": "object", "properties": dict(properties), "required": [name for name in properties if name not in left_out]}


def _envelope(kind: str, payload: Mapping[str, Any], detail: Mapping[str, Any] | None) -> dict[str, Any]:
    """The members that every message of a run has."""
    place = {} if kind in _WITHOUT_PLACE else {"seq": _PLACE}
    more = {} if detail is None else {"detail": detail}
    members = {"runId": _TEXT, "type": {"const": kind}, "payload": payload, **more, **place, "ts": _TIME, "v": {"const": VERSION}}
    return _object(members, (*(["seq"] if kind in _SOMETIMES_WITHOUT else []), *(["ts"] if kind in _WITHOUT_PLACE else [])))


def _of_run(kind: str, schemas: Schemas) -> dict[str, Any]:
    detail = DETAILS.get(kind)
    return _message(kind, _meaning(PAYLOADS[kind]), _envelope(kind, schemas[PAYLOADS[kind]], None if detail is None else schemas[detail]))


def _of_history(kind: str, events: list[str], components: Mapping[str, Any]) -> dict[str, Any]:
    """A message of a state machine: its payload is the details, and what all events have."""
    shape = shape_of(kind)
    details = components[shape.__name__]
    common: dict[str, Any] = {"eventType": {"enum": events}, "eventId": _PLACE, "previousEventId": _PLACE}
    if kind.startswith("state_"):
        common["stateType"] = {"enum": [state for state in STATE_KINDS if any(event.startswith(f"{state}State") for event in events)]}
    payload = {**details, "properties": {**common, **details["properties"]}, "required": [*common, *details["required"]]}
    return _message(kind, _meaning(shape), _envelope(kind, {name: value for name, value in payload.items() if name not in ("title", "description")}, None))


def _said(kind: str, schemas: Schemas) -> dict[str, Any]:
    member, shape, meaning = SAID[kind]
    own = {} if not member else {member: _TEXT if shape is str else schemas[shape]}
    members = {"type": {"const": kind}, "execution_id": _TEXT, "timestamp": _TIME, "seq": _PLACE, "node_id": _TEXT, **own}
    return _message(kind, meaning, _object(members, ("seq", "node_id")))


def _channel(address: str, description: str, messages: Iterable[tuple[str, str]]) -> dict[str, Any]:
    return {
        "address": address.replace(":str", ""),
        "description": description,
        "messages": {_name(side, kind): {"$ref": f"#/components/messages/{_key(side, kind)}"} for side, kind in messages},
    }


def _binding(**query: Mapping[str, Any]) -> dict[str, Any]:
    ticket = {"type": "string", "description": "Of `POST /api/v1/socket-tickets`, for browsers, which cannot send a credential."}
    return {"ws": {"method": "GET", "query": {"type": "object", "properties": {**query, "ticket": ticket}}, "bindingVersion": "0.1.0"}}


def _run_channel(messages: Mapping[str, Any]) -> dict[str, Any]:
    flag = {"type": "string", "enum": ["1", "true", "yes"]}
    return {
        **_channel(STREAM, "One run: a flow's, a workflow's or a state machine's.", ((RUN, kind) for kind in messages)),
        "parameters": {"run": {"description": "The run's id, or its execution ARN."}},
        "bindings": _binding(
            after={**_PLACE, "description": "The sequence number to go on after."},
            history={**flag, "description": "What of the history is told too."},
            snapshot={**flag, "description": "Begin with one message that tells how the run stands, instead of the messages so far."},
        ),
    }


def _executions_channel(said: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    messages = [*((EXECUTIONS, kind) for kind in said), *(("client", kind) for kind in asked)]
    return {**_channel(SOCKET, "Any number of executions on one socket.", messages), "bindings": _binding()}


def _operation(action: str, channel: str, side: str, messages: Mapping[str, Any], summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{_name(side, kind)}"} for kind in messages],
        "security": [{"$ref": f"#/components/securitySchemes/{scheme}"} for scheme in ("bearer", "basic")],
    }


def routes() -> list[HTTPRouteHandler]:
    """The document."""
    made = orjson.dumps(document())

    @get(ASYNCAPI, permission=PUBLIC, operation_id="asyncapi", contract=Contract(gives={200: dict[str, Any]}))
    async def show_sockets() -> Response[bytes]:
        """The AsyncAPI 3.0 document of the live sockets: every message with its JSON Schema."""
        return Response(made, media_type=JSON)

    return [show_sockets]
