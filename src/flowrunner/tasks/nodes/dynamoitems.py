"""DynamoDB's wire values and conditions, from and to JSON."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.tasks.nodes.reading import bad

Wire = dict[str, Any]


def wire(value: JSONValue) -> Wire:
    """A JSON value as DynamoDB writes it."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int | float):
        return {"N": format(Decimal(repr(value)), "f") if abs(value) < 1e20 else repr(value)}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, list):
        return {"L": [wire(one) for one in value]}
    return {"M": item(value)}


def item(value: JSONObject) -> dict[str, Wire]:
    """An object as an item."""
    return {name: wire(part) for name, part in value.items()}


def plain(value: Wire) -> JSONValue:
    """DynamoDB's value as JSON: sets are lists, bytes base64, a number that would lose digits a text."""
    ((kind, content),) = value.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return _number(content)
        case "L":
            return [plain(one) for one in content]
        case "M":
            return plain_item(content)
        case "B":
            return _base64(content)
        case "NS":
            return [_number(one) for one in content]
        case "BS":
            return [_base64(one) for one in content]
    return content


def plain_item(found: Mapping[str, Wire]) -> JSONObject:
    """An item as an object."""
    return {name: plain(part) for name, part in found.items()}


def _number(text: str) -> JSONValue:
    exact = Decimal(text)
    if exact == exact.to_integral_value() and abs(exact) < 2**63:
        return int(exact)
    return float(exact) if Decimal(repr(float(exact))) == exact else text


def _base64(content: bytes | str) -> str:
    return content if isinstance(content, str) else base64.b64encode(content).decode()


_COMPARED = {"$eq": "=", "$ne": "<>", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


class Conditions:
    """Builds expressions whose names and values are all placeholders: nothing of a definition is spliced."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Wire] = {}

    def expression(self, wanted: JSONObject, *, what: str) -> str:
        """All of these hold: attribute (a path with dots) to a value, or to operators. Raises NodeFailed."""
        parts = []
        for path, condition in wanted.items():
            attribute = ".".join(self._name(name) for name in path.split("."))
            operators = condition if isinstance(condition, dict) and condition and all(name.startswith("$") for name in condition) else {"$eq": condition}
            parts += [self._one(attribute, name, value, what) for name, value in operators.items()]
        return " AND ".join(parts)

    def _one(self, attribute: str, operator: str, value: JSONValue, what: str) -> str:
        if operator in _COMPARED:
            return f"{attribute} {_COMPARED[operator]} {self._value(value)}"
        written: dict[str, Callable[[], str]] = {
            "$begins_with": lambda: f"begins_with({attribute}, {self._value(value)})",
            "$contains": lambda: f"contains({attribute}, {self._value(value)})",
            "$between": lambda: f"{attribute} BETWEEN {self._value(value[0])} AND {self._value(value[1])}",
            "$in": lambda: f"{attribute} IN ({', '.join(self._value(one) for one in value)})",
        }
        lists = {"$between": isinstance(value, list) and len(value) == 2, "$in": isinstance(value, list) and 0 < len(value) <= 100}
        if operator not in written or not lists.get(operator, True):
            raise bad(f"The parameter {what!r} has the operator {operator!r}, which does not exist or has no value of its kind.")
        return written[operator]()

    def _name(self, name: str) -> str:
        for short, known in self.names.items():
            if known == name:
                return short
        short = f"#n{len(self.names)}"
        self.names[short] = name
        return short

    def _value(self, value: JSONValue) -> str:
        short = f":v{len(self.values)}"
        self.values[short] = wire(value)
        return short
