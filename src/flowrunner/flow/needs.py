"""What parameters ask of each other: those that an operation needs, those that contradict each other, those that do nothing beside others.

What an expression stands for is found out when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.check import is_open

_OPERATIONS = ("operation", "op")
_NEEDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "store": {"get": ("key",), "set": ("key", "value"), "delete": ("key",), "increment": ("key",), "append": ("key", "value")},
    "dynamodb": {"get": ("key",), "delete": ("key",)},
}
_ON_TABLE: Mapping[str, tuple[str, ...]] = {"get": ("key",), "set": ("key", "value"), "delete": ("key",)}
_SQLITE = ("sqlite", "sqlite3")
_WAITS = {"condition": "condition", "until": "until_time", "duration": "duration"}  # type -> parameter, the first that is there wins


class Fault(NamedTuple):
    """`name` is a parameter, None for one that is missing. `severe`: it would fail when it runs; else it does nothing."""

    name: str | None
    message: str
    hint: str
    severe: bool = True


def faults_of(kind: str, params: JSONObject) -> Iterator[Fault]:
    """Everything that is wrong with parameters that are each right by themselves."""
    yield from _twice(params)
    if (rule := _RULES.get(kind)) is not None:
        yield from rule(params)


def _twice(params: JSONObject) -> Iterator[Fault]:
    given = [params[name] for name in _OPERATIONS if isinstance(params.get(name), str)]
    if len(given) == 2 and given[0].lower() != given[1].lower() and not any(map(is_open, given)):
        yield Fault("op", f"'op' says {given[1]}, but 'operation' says {given[0]}.", "Keep one of the two.")


def _operation(params: JSONObject, *more: str) -> JSONValue:
    """What is asked for, in small letters; None when nothing is said, or when only the run will tell."""
    word = next((params[name] for name in (*_OPERATIONS, *more) if params.get(name) is not None), None)
    return word.lower() if isinstance(word, str) and not is_open(word) else None


def _missing(params: JSONObject, names: tuple[str, ...], asked: JSONValue) -> Iterator[Fault]:
    for name in names:
        if name not in params or (params[name] is None and name != "value"):
            yield Fault(None, f"The parameter {name} is missing, which '{asked}' needs.", f"Add {name}.")


def _store(params: JSONObject) -> Iterator[Fault]:
    if not any(params.get(name) is not None for name in _OPERATIONS):
        yield Fault(None, "The parameter operation is missing: What to do.", "Add operation.")
    asked = _operation(params)
    yield from _missing(params, _NEEDS["store"].get(str(asked), ()), asked)
    if "ttl" in params and asked in ("get", "delete", "list", "query"):
        yield Fault("ttl", f"'ttl' has no effect with '{asked}'.", "Take it out.", severe=False)


def _dynamodb(params: JSONObject) -> Iterator[Fault]:
    asked = _operation(params)
    yield from _missing(params, _NEEDS["dynamodb"].get(str(asked), ()), asked)


def _database(params: JSONObject) -> Iterator[Fault]:
    if params.get("table_name") is not None:
        if params.get("driver") in _SQLITE:
            yield Fault("table_name", "'table_name' is for PostgreSQL.", "On SQLite execute statements.")
        asked = _operation(params)
        yield from _missing(params, _ON_TABLE.get(str(asked), ()), asked)
        return
    asked = _operation(params, "queryType")
    if asked is None and any(params.get(name) is not None for name in (*_OPERATIONS, "queryType")):
        return
    if asked == "transaction":
        yield from _missing(params, ("statements",), asked)
    elif "sql" not in params:
        yield from _missing(params, ("query",), asked or "query")


def _http(params: JSONObject) -> Iterator[Fault]:
    if params.get("body") is not None and (params.get("form_data") or params.get("file") is not None):
        other = "form_data" if params.get("form_data") else "file"
        yield Fault("body", f"'body' cannot be sent beside '{other}'.", "Keep one of the two.")
    for name in ("expectedStatus", "assertions"):
        if params.get(name) is not None:
            yield Fault(
                name, f"'{name}' has no effect in a flow, where the status picks the edge.", "Take it out, and lead edges for the actions.", severe=False
            )


def _wait(params: JSONObject) -> Iterator[Fault]:
    given = [name for name in _WAITS.values() if name in params]
    counts = _WAITS.get(str(params.get("type")), given[0] if given else None)
    for name in given:
        if name != counts and counts in given:
            yield Fault(name, f"'{name}' has no effect: '{counts}' is waited for.", "Keep one of the two.", severe=False)


def _model(params: JSONObject) -> Iterator[Fault]:
    if params.get("secret") is None and params.get("model") is None:
        yield Fault(None, "The parameter model is missing: The model.", "Add model.")


def _command(params: JSONObject) -> Iterator[Fault]:
    given = params.get("args")
    for place, one in enumerate(given if isinstance(given, list) else []):
        if one is None or isinstance(one, dict | list):
            yield Fault("args", f"Item {place + 1} of 'args' must be a text, a number, true or false.", "Write JSON as a text.")


_RULES: Mapping[str, Callable[[JSONObject], Iterator[Fault]]] = {
    "store": _store, "dynamodb": _dynamodb, "database": _database, "http.request": _http,
    "wait": _wait, "llm": _model, "agent": _model, "command": _command,
}  # fmt: skip
