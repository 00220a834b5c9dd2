"""The kind ``store``: its operations on the account's values."""

from __future__ import annotations

import math
from collections.abc import Callable

from flowrunner.jsonvalue import JSONValue, dumps
from flowrunner.kinds.storing import STORE
from flowrunner.tasks.nodes.filters import matches, ordered
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.reading import bad, choice, given, mapping, seconds, text, whole
from flowrunner.tasks.nodes.shelf import Shelf, Value
from flowrunner.tasks.secrecy import SECRET_NOT_ALLOWED, hidden

OPERATIONS = ("get", "set", "delete", "list", "query", "increment", "append")
MOST_ITEMS = 1000  # that are given
MOST_SCANNED = 10_000  # values that one query looks at
WRONG_TYPE = "FlowRunner.StoreType"
LONGEST_TTL_SECONDS = 10 * 366 * 86400.0


class Store(NodeKind):
    """Keeps values of the account."""

    info = STORE

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def idempotent(self, call: NodeCall) -> bool:
        """Every operation: what changes a value remembers the attempt."""
        del call
        return True

    async def run(self, call: NodeCall) -> NodeResult:
        """What the operation gives. Raises NodeFailed; StoreUnavailable."""
        operation = choice(call.params, "operation", "op", among={name: name for name in OPERATIONS})
        namespace = text(call.params, "namespace", default="default")
        if operation == "list":
            return await self._list(call, namespace)
        if operation == "query":
            return await self._query(call, namespace)
        key = text(call.params, "key")
        if operation == "get":
            found = await self._shelf.get(call.account, namespace, key)
            value = given(call.params, "default") if found is None else found.value
            return NodeResult({"key": key, "value": value, "found": found is not None}, "success" if found is not None else "not_found")
        if operation == "delete":
            gone = await self._shelf.delete(call.account, namespace, key)
            return NodeResult({"key": key, "deleted": gone}, "success" if gone else "not_found")
        made = await self._shelf.change(call.account, namespace, _open(key), self._changing(operation, call), call.key)
        return NodeResult({"key": key, "value": made.value})

    def _changing(self, operation: str, call: NodeCall) -> Callable[[Value | None], Value]:
        expires_at = self._expiry(call)
        if operation == "increment":
            amount = given(call.params, "amount", "value")
            amount = 1 if amount is None else amount
            if isinstance(amount, bool) or not isinstance(amount, int | float):
                raise bad("The parameter 'amount' must be a number.")
            return lambda found: _incremented(found, amount, expires_at)
        if "value" not in call.params:
            raise bad("The parameter 'value' is missing.")
        value = _open(call.params["value"])
        if operation == "append":
            most = whole(call.params, "max_length", default=0, low=1, high=1_000_000) or None
            return lambda found: _appended(found, value, most, expires_at)
        return lambda _: Value(value, expires_at)

    def _expiry(self, call: NodeCall) -> int | None:
        if given(call.params, "ttl") is None:
            return None
        return self._shelf.now() + round(seconds(call.params, "ttl", default=0, high=LONGEST_TTL_SECONDS) * 1000)

    async def _list(self, call: NodeCall, namespace: str) -> NodeResult:
        limit = whole(call.params, "limit", default=100, low=1, high=MOST_ITEMS)
        keys: list[str] = []
        async for key, _ in self._shelf.items(call.account, namespace, text(call.params, "prefix", default="")):
            keys.append(key)
            if len(keys) == limit:
                break
        return NodeResult({"keys": keys, "count": len(keys)})

    async def _query(self, call: NodeCall, namespace: str) -> NodeResult:
        limit = whole(call.params, "limit", default=100, low=1, high=MOST_ITEMS)
        wanted, order = mapping(call.params, "filter"), _order(call.params.get("sort"))
        found: list[tuple[str, JSONValue]] = []
        scanned = 0
        async for key, value in self._shelf.items(call.account, namespace, text(call.params, "prefix", default="")):
            scanned += 1
            if scanned > MOST_SCANNED:
                raise bad(f"A query looks at {MOST_SCANNED} values at most; name a 'prefix' or keep values in more namespaces.")
            if matches(wanted, key, value):
                found.append((key, value))
                if len(found) == limit and not order:
                    break
        if order:
            found = ordered(found, order)[:limit]
        return NodeResult({"items": [{"key": key, "value": value} for key, value in found], "count": len(found)})


def _order(value: JSONValue) -> list[str]:
    fields = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(fields, list) or not all(isinstance(one, str) and one.removeprefix("-") for one in fields):
        raise bad("The parameter 'sort' must be a field, such as '-created', or a list of them.")
    return fields


def _incremented(found: Value | None, amount: float, expires_at: int | None) -> Value:
    before = 0 if found is None else found.value
    if isinstance(before, bool) or not isinstance(before, int | float):
        raise NodeFailed("What is there is no number.", error=WRONG_TYPE)
    try:
        made = before + amount
        finite = math.isfinite(made)
    except OverflowError:
        finite = False
    if not finite:
        raise NodeFailed("The number would be too large.", error=WRONG_TYPE)
    return Value(made, _kept(found, expires_at))


def _appended(found: Value | None, value: JSONValue, most: int | None, expires_at: int | None) -> Value:
    before = [] if found is None else found.value
    if not isinstance(before, list):
        raise NodeFailed("What is there is no list.", error=WRONG_TYPE)
    items = [*before, value]
    return Value(items if most is None else items[-most:], _kept(found, expires_at))


def _kept(found: Value | None, expires_at: int | None) -> int | None:
    """When it expires: as is said now, else as was said before."""
    return expires_at if expires_at is not None or found is None else found.expires_at


def _open(value: JSONValue) -> JSONValue:
    """The value, if there is no secret in it: what is stored here is stored openly."""
    shown = dumps(value)
    if hidden(shown) != shown:
        raise NodeFailed("The value has a secret in it. Keep the secret's name instead, and read the secret where it is used.", error=SECRET_NOT_ALLOWED)
    return value
