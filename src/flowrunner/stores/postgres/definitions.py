"""State machines, revisions and activities in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from flowrunner.errors import NotFound
from flowrunner.jsonvalue import dumps
from flowrunner.ports.definitions import Activity, DefinitionStore, Machine, Revision
from flowrunner.stores.postgres.text import given, stored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowrunner.stores.postgres.link import Row
    from flowrunner.stores.postgres.session import Session


class PostgresDefinitions(DefinitionStore):
    """The definitions of one database."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def create_machine(self, machine: Machine) -> Machine:
        """See the contract."""
        async with self._session.transaction() as link:
            if await link.fetch("insert_machine", *machine_values(machine)):
                await link.fetch("insert_revision", *revision_values(machine.revision))
            rows = await link.fetch("machine", stored(machine.account), stored(machine.name))
        return machine_of(rows[0]) if rows else machine  # none: somebody else has just deleted it

    async def update_machine(self, account: str, name: str, revision: Revision) -> Machine:
        """See the contract."""
        async with self._session.transaction() as link:
            if not await link.fetch("update_machine", stored(account), stored(name), stored(revision.id), revision.created_at):
                raise NotFound("state machine", name)
            await link.fetch("insert_revision", *revision_values(revision))
            rows = await link.fetch("machine", stored(account), stored(name))
        return machine_of(rows[0])

    async def tag_machine(self, account: str, name: str, tags: Mapping[str, str]) -> None:
        """See the contract."""
        if not await self._session.read("tag_machine", stored(account), stored(name), as_json(tags)):
            raise NotFound("state machine", name)

    async def machine(self, account: str, name: str) -> Machine | None:
        """See the contract."""
        rows = await self._session.read("machine", stored(account), stored(name))
        return machine_of(rows[0]) if rows else None

    async def machines(self, account: str, *, limit: int = 100, after: str | None = None) -> Sequence[Machine]:
        """See the contract."""
        return [machine_of(row) for row in await self._session.read("machines", stored(account), stored(after), limit)]

    async def delete_machine(self, account: str, name: str) -> None:
        """See the contract."""
        await self._session.call("delete_machine", stored(account), stored(name))

    async def revision(self, revision: str) -> Revision | None:
        """See the contract."""
        rows = await self._session.read("revision", stored(revision))
        return revision_of(rows[0]) if rows else None

    async def create_activity(self, activity: Activity) -> Activity:
        """See the contract."""
        async with self._session.transaction() as link:
            await link.fetch("insert_activity", *activity_values(activity))
            rows = await link.fetch("activity", stored(activity.account), stored(activity.name))
        return activity_of(rows[0]) if rows else activity

    async def tag_activity(self, account: str, name: str, tags: Mapping[str, str]) -> None:
        """See the contract."""
        if not await self._session.read("tag_activity", stored(account), stored(name), as_json(tags)):
            raise NotFound("activity", name)

    async def activity(self, account: str, name: str) -> Activity | None:
        """See the contract."""
        rows = await self._session.read("activity", stored(account), stored(name))
        return activity_of(rows[0]) if rows else None

    async def activities(self, account: str, *, limit: int = 100, after: str | None = None) -> Sequence[Activity]:
        """See the contract."""
        return [activity_of(row) for row in await self._session.read("activities", stored(account), stored(after), limit)]

    async def delete_activity(self, account: str, name: str) -> None:
        """See the contract."""
        await self._session.call("delete_activity", stored(account), stored(name))


def as_json(value: Mapping[str, object]) -> str:
    """JSON text; a NUL is an escape in it."""
    return dumps(dict(value))


def revision_values(revision: Revision) -> tuple[Any, ...]:
    """The parameters of `insert_revision`."""
    return (
        *(stored(revision.id), stored(revision.account), stored(revision.machine), stored(revision.role_arn), revision.created_at),
        *(as_json(revision.settings), stored(revision.definition)),
    )


def machine_values(machine: Machine) -> tuple[Any, ...]:
    """The parameters of `insert_machine`."""
    return (
        *(stored(machine.account), stored(machine.name), machine.type, machine.created_at, machine.updated_at),
        *(stored(machine.revision.id), as_json(machine.tags)),
    )


def activity_values(activity: Activity) -> tuple[Any, ...]:
    """The parameters of `insert_activity`."""
    return stored(activity.account), stored(activity.name), activity.created_at, as_json(activity.tags), as_json(activity.settings)


def revision_of(row: Row | tuple[Any, ...]) -> Revision:
    """A row as the query `revision` names its columns."""
    identity, account, machine, definition, role_arn, created_at, settings = row
    return Revision(
        id=given(identity),
        account=given(account),
        machine=given(machine),
        definition=given(definition),
        role_arn=given(role_arn),
        created_at=created_at,
        settings=orjson.loads(settings),
    )


def machine_of(row: Row) -> Machine:
    """A row as the query `machine` names its columns."""
    account, name, kind, created_at, updated_at, tags, *revision = row
    return Machine(
        account=given(account),
        name=given(name),
        type=kind,
        created_at=created_at,
        updated_at=updated_at,
        tags=orjson.loads(tags),
        revision=revision_of(tuple(revision)),
    )


def activity_of(row: Row) -> Activity:
    """A row as the query `activity` names its columns."""
    account, name, created_at, tags, settings = row
    return Activity(account=given(account), name=given(name), created_at=created_at, tags=orjson.loads(tags), settings=orjson.loads(settings))
