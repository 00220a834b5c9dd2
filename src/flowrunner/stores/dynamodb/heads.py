"""Heads as items, and what a step changes in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowrunner.errors import StoreError
from flowrunner.ports.executions import Head, Position
from flowrunner.stores.dynamodb.keys import head_key
from flowrunner.stores.dynamodb.values import INLINE_BYTES, Item, attribute, item_of, joined, part_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flowrunner.stores.dynamodb.keys import Key, Shards
    from flowrunner.stores.dynamodb.session import Session
    from flowrunner.stores.dynamodb.values import Parts, Plain

OPEN = ("RUNNING", "PENDING_REDRIVE")
FIXED = ("account", "machine", "name", "seed", "started_at")
CHANGING = ("revision", "status", "epoch", "owner", "stopped_at", "wake_at", "last_seq")
LONG = ("output", "error", "cause", "extra")
MOST_LOOKS = 10
POSITION = ("epoch", "last_seq", "status", "gone")

# Of our own: `token` names the write that made this state, `base` is the epoch up to which facts count no longer, `facts` the
# number of fact items since, `snapshot` the epoch of the snapshot, `gone` marks a head that is being forgotten, `held` one
# that somebody reads as a whole: steps wait.


def new_head(head: Head, shards: Shards, parts: Parts, token: bytes, own: Mapping[str, object]) -> Item:
    """The item of a new head."""
    pk, sk = head_key(head.id)
    values: dict[str, object] = {"pk": pk, "sk": sk, "token": token, **own, **shards.index(head)}
    values |= {name: getattr(head, name) for name in (*FIXED, *CHANGING)}
    for name in ("input", *LONG):
        values |= parts.put(name, getattr(head, name), INLINE_BYTES)
    return item_of(values)


def changes(before: Head, head: Head, shards: Shards, parts: Parts) -> dict[str, object]:
    """The attributes that a step sets; None for those it takes away."""
    changed: dict[str, object] = {name: getattr(head, name) for name in CHANGING if getattr(head, name) != getattr(before, name)}
    for name in LONG:
        value = getattr(head, name)
        if value != getattr(before, name):
            changed |= {name: None, f"{name}@": None} | parts.put(name, value, INLINE_BYTES)
    index = shards.index(head)
    return changed | {name: value for name, value in index.items() if value != shards.index(before)[name]}


def update(changed: Mapping[str, object], added: Mapping[str, int], condition: str, values: Mapping[str, object]) -> dict[str, Any]:
    """An update expression that sets or removes attributes and raises counters; `condition` names attributes as they are, `values` are its own."""
    names = {f"#{place}": name for place, name in enumerate((*changed, *added))}
    alias = {name: place for place, name in names.items()}
    given = {f":{alias[name][1:]}": attribute(value) for name, value in changed.items() if value is not None}
    given |= {f":{alias[name][1:]}": attribute(value) for name, value in added.items()}
    given |= {f":{name}": attribute(value) for name, value in values.items()}
    sets = [f"{alias[name]}=:{alias[name][1:]}" for name, value in changed.items() if value is not None]
    if added:
        given[":zero"] = attribute(0)
        sets += [f"{alias[name]}=if_not_exists({alias[name]},:zero)+:{alias[name][1:]}" for name in added]
    removed = [alias[name] for name, value in changed.items() if value is None]
    expression = " ".join(filter(None, ("SET " + ",".join(sets) if sets else "", "REMOVE " + ",".join(removed) if removed else "")))
    return {
        "UpdateExpression": expression,
        "ConditionExpression": condition,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": given,
    }


def missing_parts(found: Plain, *, with_input: bool = True) -> list[Key]:
    """The keys of the parts of a head's long texts."""
    return part_keys(found, ("input", *LONG) if with_input else ("error", "cause", "extra"))


def head_of(found: Plain, parts: Mapping[Key, Plain], *, with_input: bool = True) -> Head:
    """The head that an item and the parts of its texts are."""
    values: dict[str, Any] = {name: found.get(name) for name in (*FIXED, *CHANGING)}
    values |= {name: joined(found, name, parts, text=True) for name in ("error", "cause", "extra")}
    values["input"] = joined(found, "input", parts, text=True) if with_input else ""
    values["output"] = joined(found, "output", parts, text=True) if with_input else None
    return Head(id=execution_of(found), **values)


def position_of(found: Plain) -> Position:
    """How far the execution of an item has come."""
    return Position(found["epoch"], found["last_seq"], found["status"])


async def read_head(session: Session, execution: str) -> Head | None:
    """A head by id, as it is now."""
    found = await session.get(head_key(execution))
    return await complete(session, found) if found is not None else None


async def complete(session: Session, found: Plain | None) -> Head | None:
    """The head of an item, with its long texts; None if it is being forgotten."""
    for attempt in range(1, MOST_LOOKS):
        if found is None or "gone" in found:
            return None
        keys = missing_parts(found)
        parts = await session.get_all(keys) if keys else {}
        if len(parts) == len(keys):
            return head_of(found, parts)
        await session.pause(attempt)
        found = await session.get((found["pk"], found["sk"]))  # it was forgotten in between
    raise StoreError("A part of a long text is missing from an execution's head: the table was changed from outside.")


async def statuses(session: Session, executions: Iterable[str]) -> dict[str, str]:
    """The status of those of these executions that are there; "GONE" of those that are being forgotten."""
    found = await session.get_all(map(head_key, executions), POSITION)
    return {execution_of(item): "GONE" if "gone" in item else item["status"] for item in found.values()}


def execution_of(found: Plain) -> str:
    """Whose partition an item is in."""
    pk: str = found["pk"]
    return pk.removeprefix("x#")
