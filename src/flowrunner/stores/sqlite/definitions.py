"""State machines, revisions and activities in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from flowrunner.errors import NotFound
from flowrunner.jsonvalue import dumps
from flowrunner.ports.definitions import Activity, DefinitionStore, Machine, Revision
from flowrunner.stores.sqlite.session import QUERIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import apsw

    from flowrunner.stores.sqlite.session import Row, Session


class SqliteDefinitions(DefinitionStore):
    """The definitions of one file."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def create_machine(self, machine: Machine) -> Machine:
        """See the contract."""

        def work(cursor: apsw.Cursor) -> Machine:
            if insert_machine(cursor, machine):
                keep_revision(cursor, machine.revision)
            return read_machine(cursor.execute(QUERIES["machine"], (machine.account, machine.name)).fetchall()[0])

        stored: Machine = await self._session.write(work, len(machine.revision.definition))
        return stored

    async def update_machine(self, account: str, name: str, revision: Revision) -> Machine:
        """See the contract."""

        def work(cursor: apsw.Cursor) -> Machine:
            if not cursor.execute(QUERIES["update_machine"], (account, name, revision.id, revision.created_at)).fetchall():
                raise NotFound("state machine", name)
            keep_revision(cursor, revision)
            return read_machine(cursor.execute(QUERIES["machine"], (account, name)).fetchall()[0])

        stored: Machine = await self._session.write(work, len(revision.definition))
        return stored

    async def tag_machine(self, account: str, name: str, tags: Mapping[str, str]) -> None:
        """See the contract."""
        await self._tag("tag_machine", "state machine", account, name, tags)

    async def machine(self, account: str, name: str) -> Machine | None:
        """See the contract."""
        rows = self._session.read("machine", account, name)
        return read_machine(rows[0]) if rows else None

    async def machines(self, account: str, *, limit: int = 100, after: str | None = None) -> Sequence[Machine]:
        """See the contract."""
        return [read_machine(row) for row in await self._session.scan("machines", account, after, limit)]

    async def delete_machine(self, account: str, name: str) -> None:
        """See the contract."""
        await self._delete("delete_machine", account, name)

    async def revision(self, revision: str) -> Revision | None:
        """See the contract."""
        rows = self._session.read("revision", revision)
        return read_revision(rows[0]) if rows else None

    async def create_activity(self, activity: Activity) -> Activity:
        """See the contract."""

        def work(cursor: apsw.Cursor) -> Activity:
            insert_activity(cursor, activity)
            return read_activity(cursor.execute(QUERIES["activity"], (activity.account, activity.name)).fetchall()[0])

        stored: Activity = await self._session.write(work)
        return stored

    async def tag_activity(self, account: str, name: str, tags: Mapping[str, str]) -> None:
        """See the contract."""
        await self._tag("tag_activity", "activity", account, name, tags)

    async def activity(self, account: str, name: str) -> Activity | None:
        """See the contract."""
        rows = self._session.read("activity", account, name)
        return read_activity(rows[0]) if rows else None

    async def activities(self, account: str, *, limit: int = 100, after: str | None = None) -> Sequence[Activity]:
        """See the contract."""
        return [read_activity(row) for row in await self._session.scan("activities", account, after, limit)]

    async def delete_activity(self, account: str, name: str) -> None:
        """See the contract."""
        await self._delete("delete_activity", account, name)

    async def _tag(self, query: str, kind: str, account: str, name: str, tags: Mapping[str, str]) -> None:
        text = json_text(tags)

        def work(cursor: apsw.Cursor) -> None:
            if not cursor.execute(QUERIES[query], (account, name, text)).fetchall():
                raise NotFound(kind, name)

        await self._session.write(work)

    async def _delete(self, query: str, account: str, name: str) -> None:
        def work(cursor: apsw.Cursor) -> None:
            cursor.execute(QUERIES[query], (account, name))

        await self._session.write(work)


def keep_revision(cursor: apsw.Cursor, revision: Revision) -> bool:
    """Write a revision, unless it is there; return whether it is new."""
    values = (revision.id, revision.account, revision.machine, revision.role_arn, revision.created_at, json_text(revision.settings), revision.definition)
    return bool(cursor.execute(QUERIES["insert_revision"], values).fetchall())


def insert_machine(cursor: apsw.Cursor, machine: Machine) -> bool:
    """Write a machine without its revision; return whether its name was free."""
    values = (machine.account, machine.name, machine.type, machine.created_at, machine.updated_at, machine.revision.id, json_text(machine.tags))
    return bool(cursor.execute(QUERIES["insert_machine"], values).fetchall())


def insert_activity(cursor: apsw.Cursor, activity: Activity) -> bool:
    """Write an activity; return whether its name was free."""
    values = (activity.account, activity.name, activity.created_at, json_text(activity.tags), json_text(activity.settings))
    return bool(cursor.execute(QUERIES["insert_activity"], values).fetchall())


def json_text(value: Mapping[str, object]) -> str:
    """A mapping as it is stored."""
    return dumps(dict(value))


def read_revision(row: Row) -> Revision:
    """A row of `revision` or `page_of_revisions`."""
    identity, account, machine, definition, role_arn, created_at, settings = row
    return Revision(
        id=identity,
        account=account,
        machine=machine,
        definition=definition,
        role_arn=role_arn,
        created_at=created_at,
        settings=orjson.loads(settings),
    )


def read_machine(row: Row) -> Machine:
    """A row of `machine`, `machines` or `page_of_machines`."""
    account, name, kind, created_at, updated_at, tags, *revision = row
    return Machine(
        account=account,
        name=name,
        type=kind,
        created_at=created_at,
        updated_at=updated_at,
        tags=orjson.loads(tags),
        revision=read_revision(tuple(revision)),
    )


def read_activity(row: Row) -> Activity:
    """A row of `activity`, `activities` or `page_of_activities`."""
    account, name, created_at, tags, settings = row
    return Activity(account=account, name=name, created_at=created_at, tags=orjson.loads(tags), settings=orjson.loads(settings))
