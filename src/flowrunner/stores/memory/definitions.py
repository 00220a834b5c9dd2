"""Definitions in dictionaries; what a caller passes is copied, so that it cannot change what is stored."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from flowrunner.errors import NotFound
from flowrunner.ports.definitions import Activity, DefinitionStore, Machine, Revision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Thing = TypeVar("Thing")


class MemoryDefinitions(DefinitionStore):
    """The definitions of one process."""

    def __init__(self) -> None:
        self._machines: dict[tuple[str, str], Machine] = {}
        self._revisions: dict[str, Revision] = {}
        self._activities: dict[tuple[str, str], Activity] = {}

    async def create_machine(self, machine: Machine) -> Machine:
        """See the contract."""
        key = (machine.account, machine.name)
        if key not in self._machines:
            self._machines[key] = replace(machine, revision=self._keep(machine.revision), tags=dict(machine.tags))
        return self._machines[key]

    async def update_machine(self, account: str, name: str, revision: Revision) -> Machine:
        """See the contract."""
        machine = replace(self._existing(account, name), revision=self._keep(revision), updated_at=revision.created_at)
        self._machines[account, name] = machine
        return machine

    async def tag_machine(self, account: str, name: str, tags: Mapping[str, str]) -> None:
        """See the contract."""
        self._machines[account, name] = replace(self._existing(account, name), tags=dict(tags))

    async def machine(self, account: str, name: str) -> Machine | None:
        """See the contract."""
        return self._machines.get((account, name))

    async def machines(self, account: str, *, limit: int = 100, after: str | None = None) -> Sequence[Machine]:
        """See the contract."""
        return _page(self._machines, account, limit, after)

    async def delete_machine(self, account: str, name: str) -> None:
        """See the contract."""
        self._machines.pop((account, name), None)

    async def revision(self, revision: str) -> Revision | None:
        """See the contract."""
        return self._revisions.get(revision)

    async def create_activity(self, activity: Activity) -> Activity:
        """See the contract."""
        key = (activity.account, activity.name)
        return self._activities.setdefault(key, replace(activity, tags=dict(activity.tags), settings=deepcopy(dict(activity.settings))))

    async def tag_activity(self, account: str, name: str, tags: Mapping[str, str]) -> None:
        """See the contract."""
        activity = self._activities.get((account, name))
        if activity is None:
            raise NotFound("activity", name)
        self._activities[account, name] = replace(activity, tags=dict(tags))

    async def activity(self, account: str, name: str) -> Activity | None:
        """See the contract."""
        return self._activities.get((account, name))

    async def activities(self, account: str, *, limit: int = 100, after: str | None = None) -> Sequence[Activity]:
        """See the contract."""
        return _page(self._activities, account, limit, after)

    async def delete_activity(self, account: str, name: str) -> None:
        """See the contract."""
        self._activities.pop((account, name), None)

    # --- the archive's

    def put_machine(self, machine: Machine) -> bool:
        """Take a machine, if its name is free."""
        key = (machine.account, machine.name)
        if key in self._machines:
            return False
        self._machines[key] = replace(machine, revision=self._keep(machine.revision), tags=dict(machine.tags))
        return True

    def put_revision(self, revision: Revision) -> bool:
        """Take a revision, if its id is free."""
        new = revision.id not in self._revisions
        self._keep(revision)
        return new

    def has_activity(self, account: str, name: str) -> bool:
        """Whether the name of an activity is taken."""
        return (account, name) in self._activities

    def all_revisions(self) -> Mapping[str, Revision]:
        """Every revision, by id."""
        return self._revisions

    def all_machines(self) -> Mapping[tuple[str, str], Machine]:
        """Every account's machines."""
        return self._machines

    def all_activities(self) -> Mapping[tuple[str, str], Activity]:
        """Every account's activities."""
        return self._activities

    def _existing(self, account: str, name: str) -> Machine:
        machine = self._machines.get((account, name))
        if machine is None:
            raise NotFound("state machine", name)
        return machine

    def _keep(self, revision: Revision) -> Revision:
        """Revisions never change: the first one stored under an id stays."""
        return self._revisions.setdefault(revision.id, replace(revision, settings=deepcopy(dict(revision.settings))))


def _page(things: Mapping[tuple[str, str], Thing], account: str, limit: int, after: str | None) -> list[Thing]:
    names = sorted(name for owner, name in things if owner == account and (after is None or name > after))
    return [things[account, name] for name in names[:limit]]
