"""The types of secrets: which fields each has, which of them it must have, and what keeps its meaning secret.

One table (`TYPES`), and the checks of a secret's data against it and against a schema of its own. Every fault has a JSON pointer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
import re2  # type: ignore[import-untyped]

from flowrunner.errors import ExpressionError
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.lang.moment import parse_timestamp

Kind = Literal["string", "number", "integer", "boolean", "object", "array", "time"]
Fault = tuple[str, str]  # JSON pointer, what is wrong there
MAX_PATTERN_CHARACTERS = 1024
MAX_PATTERN_MEMORY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TypedField:
    """A field of a type: its kind, whether it must be there, whether its value is secret (a host is not, a password is)."""

    kind: Kind
    required: bool = False
    sensitive: bool = False


def _text(*, required: bool = False, sensitive: bool = False) -> TypedField:
    return TypedField("string", required, sensitive)


TYPES: Final[Mapping[str, Mapping[str, TypedField]]] = {
    "general": {},
    "custom": {},
    "oauth": {
        "client_id": _text(required=True), "client_secret": _text(required=True, sensitive=True), "token_url": _text(), "auth_url": _text(),
        "redirect_url": _text(), "scopes": TypedField("array"), "access_token": _text(sensitive=True), "refresh_token": _text(sensitive=True),
        "token_expires_at": TypedField("time"), "extra": TypedField("object", sensitive=True),
    },
    "api_key": {
        "key": _text(required=True, sensitive=True), "header_name": _text(), "prefix": _text(), "headers": TypedField("object", sensitive=True),
        "query_param": _text(), "base_url": _text(), "rate_limit": TypedField("object"),
    },
    "database": {
        "type": _text(required=True), "host": _text(required=True), "username": _text(required=True), "password": _text(required=True, sensitive=True),
        "port": TypedField("integer"), "database": _text(), "ssl_mode": _text(), "ssl_cert": _text(sensitive=True), "ssl_key": _text(sensitive=True),
        "ssl_ca": _text(), "ssl_root_cert": _text(), "timezone": _text(), "max_conns": TypedField("integer"), "max_idle_conns": TypedField("integer"),
        "conn_timeout": TypedField("integer"), "options": TypedField("object", sensitive=True),
    },
    "jwt": {
        "token": _text(required=True, sensitive=True), "algorithm": _text(), "audience": TypedField("array"), "issuer": _text(), "subject": _text(),
        "token_expires_at": TypedField("time"), "issued_at": TypedField("time"), "claims": TypedField("object", sensitive=True),
    },
}  # fmt: skip
OPEN: Final = frozenset({"general", "custom"})  # types with fields of their own choice
RATE_LIMIT: Final = {"requests_per_second", "requests_per_hour", "requests_per_day", "burst_limit", "reset_time"}


class SchemaField(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a schema says of a field. `pattern` (RE2) must match all of a text; `sensitive` false allows the value to be shown in outputs."""

    type: Literal["string", "number", "integer", "boolean", "object", "array"] = "string"
    description: str = ""
    sensitive: bool = True
    pattern: str = ""


class Schema(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A secret's own schema."""

    fields: dict[str, SchemaField] = msgspec.field(default_factory=dict)
    required: tuple[str, ...] = ()


def faults_of(kind: str, data: JSONObject, schema: Schema | None) -> list[Fault]:
    """Everything that is wrong with a secret's data; pointers are into the request (``/data/password``, ``/schema/...``)."""
    return [*_typed(kind, data, schema), *([] if schema is None else _schema(data, schema))]


def _typed(kind: str, data: JSONObject, schema: Schema | None) -> Iterator[Fault]:
    table = TYPES[kind]
    for name, expected in table.items():
        if name not in data or data[name] is None:
            if expected.required:
                yield _at(name), f"is required for the type {kind}"
        elif not _is(data[name], expected.kind):
            yield _at(name), f"must be {_KINDS[expected.kind]}"
        elif expected.required and data[name] == "":
            yield _at(name), "must not be empty"
    if kind not in OPEN:
        own = {} if schema is None else schema.fields
        for name in data:
            if name not in table and name not in own:
                yield _at(name), f"is no field of the type {kind}; its schema may declare more"
    limits = data.get("rate_limit") if kind == "api_key" else None
    for name in sorted(set(limits) - RATE_LIMIT) if isinstance(limits, dict) else ():
        yield f"{_at('rate_limit')}/{_escaped(name)}", "is no field of rate_limit"


def _schema(data: JSONObject, schema: Schema) -> Iterator[Fault]:
    for name in schema.required:
        if data.get(name) is None:
            yield _at(name), "is required by the schema"
    for name, expected in schema.fields.items():
        pattern, fault = _pattern(expected.pattern)
        if fault:
            yield f"/schema/fields/{_escaped(name)}/pattern", fault
        value = data.get(name)
        if value is None:
            continue
        if not _is(value, expected.type):
            yield _at(name), f"must be {_KINDS[expected.type]}"
        elif pattern is not None and (not isinstance(value, str) or not pattern.fullmatch(value)):
            yield _at(name), "does not match the pattern of the schema"


def _pattern(text: str) -> tuple[JSONValue, str]:
    if not text:
        return None, ""
    if len(text) > MAX_PATTERN_CHARACTERS:
        return None, f"is longer than {MAX_PATTERN_CHARACTERS} characters"
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PATTERN_MEMORY_BYTES
    try:
        return re2.compile(text, options), ""
    except (re2.error, UnicodeError):
        return None, "is no regular expression of RE2"


_KINDS: Final = {
    "string": "a text", "number": "a number", "integer": "a whole number", "boolean": "true or false", "object": "an object", "array": "an array",
    "time": "a time such as 2026-01-02T03:04:05Z",
}  # fmt: skip


def _is(value: JSONValue, kind: Kind) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "time":
            return _is_time(value)


def _is_time(value: JSONValue) -> bool:
    try:
        parse_timestamp(value)
    except (ExpressionError, TypeError):
        return False
    return True


def sensitive_values(kind: str, data: JSONValue, schema: Schema | None) -> Iterator[JSONValue]:
    """The values that must not be shown: all of them, but for those that the schema or the type's table call public."""
    if not isinstance(data, dict):
        yield data
        return
    own = {} if schema is None else schema.fields
    for name, value in data.items():
        if own[name].sensitive if name in own else TYPES[kind][name].sensitive if name in TYPES[kind] else True:
            yield value


def _at(name: str) -> str:
    return f"/data/{_escaped(name)}"


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
