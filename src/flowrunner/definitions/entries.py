"""What is kept of a flow or a workflow beside its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

Format = Literal["flow", "workflow", "test"]
Status = Literal["draft", "published", "archived"]
FORMATS: tuple[Format, ...] = ("flow", "workflow", "test")
DELIVERING = "webhook"  # machines named webhook/ID deliver events of executions; nobody but this server starts them
STATUSES: tuple[Status, ...] = ("draft", "published", "archived")


class Version(msgspec.Struct, frozen=True, array_like=True):
    """One text that a definition had: its number, counted from 1, and the revision that holds it. `created_at` is milliseconds since 1970 UTC."""

    number: int
    revision: str
    created_at: int
    created_by: str


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A flow or a workflow without its text. Times are milliseconds since 1970 UTC; `version` is its author's, `versions` are ours, oldest first."""

    id: str
    name: str
    created_at: int
    updated_at: int
    versions: tuple[Version, ...]
    description: str = ""
    version: str = "1.0.0"
    created_by: str = ""
    tags: tuple[str, ...] = ()
    category: str = ""
    status: Status = "draft"
    custom: dict[str, Any] = {}
    test_case: bool = False

    @property
    def latest(self) -> Version:
        """The version that new executions take."""
        return self.versions[-1]


@dataclass(frozen=True, slots=True)
class Kept:
    """A definition as it is stored; `tag` counts its writes, from 1."""

    definition: Definition
    tag: int


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is to be known of a definition; what is left out stays as it is, or is what its text says. `custom` is merged, null removes a member."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    version: str | UnsetType = UNSET
    created_by: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    category: str | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    test_case: bool | UnsetType = UNSET
    custom: Mapping[str, Any] = field(default_factory=dict)

    def changes(self) -> dict[str, Any]:
        """The members that are given, `custom` not among them."""
        names = ("name", "description", "version", "created_by", "tags", "category", "status", "test_case")
        return {name: value for name in names if (value := getattr(self, name)) is not UNSET}


def merged(custom: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The custom members after a change."""
    return {name: value for name, value in {**custom, **change}.items() if value is not None}


def machine_name(form: Format, definition: str) -> str:
    """The name of the machine of a definition: AWS's names have no slash, so the AWS surface has none of these."""
    return f"{form}/{definition}"


def is_ours(machine: str) -> bool:
    """Whether a machine of this name is a flow, a workflow, a test case, or what delivers events of these."""
    return machine.partition("/")[0] in (*FORMATS, DELIVERING) and "/" in machine


def delivers(machine: str) -> bool:
    """Whether executions of this machine deliver events, which lists of executions leave out."""
    return machine.startswith(f"{DELIVERING}/")
