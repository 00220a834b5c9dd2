"""The actions of a transaction, and groups of them that may be left out together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flowrunner.stores.dynamodb.keys import Key, wire
from flowrunner.stores.dynamodb.values import Item, attribute, size_of

Kind = Literal["Put", "Update", "Delete", "ConditionCheck"]
MOST_ACTIONS = 100  # of one transaction
MOST_BYTES = 1_000_000  # of one transaction's request; DynamoDB takes 4 MB, but sending more than 1 MiB holds up the event loop


@dataclass(frozen=True, slots=True)
class Action:
    """One action. `role` tells what a failed condition of it means: "head", "name", or nothing in particular."""

    kind: Kind
    request: Mapping[str, Any]
    size: int = 100
    role: str = ""

    @property
    def wire(self) -> dict[str, Any]:
        """As the protocol has it."""
        return {self.kind: self.request}


@dataclass(frozen=True, slots=True)
class Group:
    """Actions that are done together or, if a condition of theirs does not hold, left out together."""

    actions: tuple[Action, ...]
    parts: tuple[Item, ...] = field(default=())


def put(item: Item, *, role: str = "", condition: str = "", values: Mapping[str, object] | None = None) -> Action:
    """Put an item; a failed condition shows the one that is there."""
    return Action("Put", {"Item": item, **_condition(condition, values)}, size_of(item), role)


def delete(key: Key, *, condition: str = "", values: Mapping[str, object] | None = None) -> Action:
    """Delete an item."""
    return Action("Delete", {"Key": wire(key), **_condition(condition, values)})


def check(key: Key, condition: str, values: Mapping[str, object]) -> Action:
    """A condition on an item that is not changed."""
    return Action("ConditionCheck", {"Key": wire(key), **_condition(condition, values)})


def update(key: Key, request: Mapping[str, Any], *, size: int = 1000, role: str = "") -> Action:
    """Change an item; `request` has the expressions."""
    return Action("Update", {"Key": wire(key), "ReturnValuesOnConditionCheckFailure": "ALL_OLD", **request}, size, role)


def _condition(condition: str, values: Mapping[str, object] | None) -> dict[str, Any]:
    if not condition:
        return {}
    made: dict[str, Any] = {"ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    if values:
        made["ExpressionAttributeValues"] = {f":{name}": attribute(value) for name, value in values.items()}
    return made


def fits(actions: Iterable[Action], items: Iterable[Item] = ()) -> bool:
    """Whether these actions and puts of items are one transaction."""
    sizes = [action.size for action in actions] + [size_of(item) for item in items]
    return len(sizes) <= MOST_ACTIONS and sum(sizes) <= MOST_BYTES
