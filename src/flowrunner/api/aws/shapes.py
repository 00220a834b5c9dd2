"""The kinds of request members, and checking a request against them with the words AWS uses.

Two faults are told apart, as AWS does: a member of the wrong JSON type is a SerializationException (the request could not
be read), a value outside its bounds a ValidationException that lists every such member.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from flowrunner.api.aws.faults import AwsFault, validation

if TYPE_CHECKING:
    from flowrunner.limits import Limits

SHOWN_CHARACTERS = 4096  # of a value in a message; ours: a hostile value is not echoed without bound

Tell = Callable[[str], None]


def _unreadable(value: Any, wanted: str) -> AwsFault:
    kinds = {str: "STRING_VALUE", bool: "TRUE_VALUE" if value is True else "FALSE_VALUE", int: "NUMBER_VALUE", float: "NUMBER_VALUE"}
    kind = kinds.get(type(value))
    if kind is None:
        return AwsFault(
            "SerializationException",
            "Start of structure or map found where not expected." if isinstance(value, dict) else "Start of list found where not expected",
        )
    return AwsFault("SerializationException", f"{kind} can not be converted to {wanted}")


def _broken(tell: Tell, value: Any, path: str, rule: str, *, sensitive: bool = False) -> None:
    shown = "" if sensitive else f" '{str(value)[:SHOWN_CHARACTERS]}'"
    tell(f"Value{shown} at '{path}' failed to satisfy constraint: Member must {rule}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A string. `values` is the enumeration in the order AWS lists it; a `sensitive` value is never repeated in a message.

    `measure` names the quota of the limit profile that takes the place of `longest`.
    """

    shortest: int = 0
    longest: int | None = None
    values: tuple[str, ...] = ()
    pattern: str | None = None
    sensitive: bool = False
    measure: str | None = None

    def check(self, value: Any, path: str, tell: Tell) -> None:
        """Tell what is wrong with the value."""
        if type(value) is not str:
            raise _unreadable(value, "a String")
        size = len(value)
        if self.longest is not None and (size > self.longest or (self.measure and not value.isascii() and len(value.encode()) > self.longest)):
            _broken(tell, value, path, f"have length less than or equal to {self.longest}", sensitive=self.sensitive)
        if size < self.shortest:
            _broken(tell, value, path, f"have length greater than or equal to {self.shortest}", sensitive=self.sensitive)
        if self.values and value not in self.values:
            _broken(tell, value, path, f"satisfy enum value set: [{', '.join(self.values)}]", sensitive=self.sensitive)
        if self.pattern is not None and re.fullmatch(self.pattern.replace(r"\p{ASCII}", r"[\x00-\x7f]"), value) is None:
            _broken(tell, value, path, f"satisfy regular expression pattern: {self.pattern}", sensitive=self.sensitive)


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number, whole unless `fractions`."""

    least: int | None = None
    most: int | None = None
    fractions: bool = False

    def check(self, value: Any, path: str, tell: Tell) -> None:
        """Tell what is wrong with the value."""
        if type(value) is not int and not (self.fractions and type(value) is float):
            raise _unreadable(value, "a Float" if self.fractions else "an Integer")
        if self.most is not None and value > self.most:
            _broken(tell, value, path, f"have value less than or equal to {self.most}")
        if self.least is not None and value < self.least:
            _broken(tell, value, path, f"have value greater than or equal to {self.least}")


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def check(self, value: Any, path: str, tell: Tell) -> None:
        """Tell what is wrong with the value."""
        del path, tell
        if type(value) is not bool:
            raise _unreadable(value, "a Boolean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list."""

    item: Shape
    fewest: int = 0
    most: int | None = None
    noun: ClassVar[str] = "member"

    def check(self, value: Any, path: str, tell: Tell) -> None:
        """Tell what is wrong with the value."""
        if type(value) is not list:
            raise _unreadable(value, "a List") if not isinstance(value, dict) else AwsFault("SerializationException", "Expected list or null")
        if self.most is not None and len(value) > self.most:
            tell(f"Value at '{path}' failed to satisfy constraint: Member must have length less than or equal to {self.most}")
        if len(value) < self.fewest:
            tell(f"Value at '{path}' failed to satisfy constraint: Member must have length greater than or equal to {self.fewest}")
        for place, item in enumerate(value, 1):
            if item is None:
                tell(f"Value null at '{path}.{place}.{self.noun}' failed to satisfy constraint: Member must not be null")
            else:
                self.item.check(item, f"{path}.{place}.{self.noun}", tell)


@dataclass(frozen=True, slots=True)
class Parts:
    """An object. Members it does not name are passed over; null is as good as absent."""

    members: Mapping[str, Shape]
    required: tuple[str, ...] = ()

    def check(self, value: Any, path: str, tell: Tell) -> None:
        """Tell what is wrong with the value."""
        if type(value) is not dict:
            raise (
                _unreadable(value, "an Object") if not isinstance(value, list) else AwsFault("SerializationException", "Start of list found where not expected")
            )
        for name in self.required:
            if value.get(name) is None:
                where = f"{path}.{name}" if path else name
                tell(f"Value null at '{where}' failed to satisfy constraint: Member must not be null")
        for name, shape in self.members.items():
            member = value.get(name)
            if member is not None:
                shape.check(member, f"{path}.{name}" if path else name, tell)


Shape = Text | Number | Flag | Items | Parts


def check(shape: Parts, request: Any) -> None:
    """Check a whole request; raises AwsFault."""
    wrong: list[str] = []
    shape.check(request, "", wrong.append)
    if wrong:
        noun = "error" if len(wrong) == 1 else "errors"
        raise validation(f"{len(wrong)} validation {noun} detected: {'; '.join(wrong)}")


def with_limits(shape: Parts, limits: Limits) -> Parts:
    """The same shape with the sizes of a limit profile."""
    return Parts({name: _measured(member, limits) for name, member in shape.members.items()}, shape.required)


def _measured(shape: Shape, limits: Limits) -> Shape:
    if isinstance(shape, Text) and shape.measure is not None:
        return replace(shape, longest=getattr(limits, shape.measure))
    return shape
