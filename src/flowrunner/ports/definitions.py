"""State machines, their revisions and activities, per account."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

MachineType = Literal["STANDARD", "EXPRESS"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One immutable state of a machine's definition; executions pin the one they started with.

    `id` is a UUID. `definition` is the text as given. `settings` holds the further parts of the create and update calls as
    given (loggingConfiguration, tracingConfiguration, encryptionConfiguration), JSON values.
    """

    id: str
    account: str
    machine: str
    definition: str
    role_arn: str
    created_at: int
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A state machine: its name, and the revision that new executions take. Times are milliseconds since 1970 UTC."""

    account: str
    name: str
    type: MachineType
    created_at: int
    revision: Revision
    updated_at: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """A named queue that outside workers poll."""

    account: str
    name: str
    created_at: int
    tags: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)


class DefinitionStore(ABC):
    """Definitions of every account on one database. All methods raise StoreUnavailable when it does not answer."""

    @abstractmethod
    async def create_machine(self, machine: Machine) -> Machine:
        """Store a new machine with its first revision, durably; if (account, name) exists, change nothing and return the stored one."""

    @abstractmethod
    async def update_machine(self, account: str, name: str, revision: Revision) -> Machine:
        """Make this revision current (updated_at = its created_at); raises NotFound."""

    @abstractmethod
    async def tag_machine(self, account: str, name: str, tags: Mapping[str, str]) -> None:
        """Replace the tags; raises NotFound."""

    @abstractmethod
    async def machine(self, account: str, name: str) -> Machine | None:
        """The machine with its current revision."""

    @abstractmethod
    async def machines(self, account: str, *, limit: int = 100, after: str | None = None) -> Sequence[Machine]:
        """One page by name, ascending, names above `after`."""

    @abstractmethod
    async def delete_machine(self, account: str, name: str) -> None:
        """Remove the machine; its revisions stay for the executions that pin them. Not an error if absent."""

    @abstractmethod
    async def revision(self, revision: str) -> Revision | None:
        """A revision by id, current or not, of a machine that exists or not."""

    @abstractmethod
    async def create_activity(self, activity: Activity) -> Activity:
        """Store a new activity; if (account, name) exists, change nothing and return the stored one."""

    @abstractmethod
    async def tag_activity(self, account: str, name: str, tags: Mapping[str, str]) -> None:
        """Replace the tags; raises NotFound."""

    @abstractmethod
    async def activity(self, account: str, name: str) -> Activity | None:
        """The activity, or None."""

    @abstractmethod
    async def activities(self, account: str, *, limit: int = 100, after: str | None = None) -> Sequence[Activity]:
        """One page by name, ascending, names above `after`."""

    @abstractmethod
    async def delete_activity(self, account: str, name: str) -> None:
        """Remove the activity; not an error if absent."""
