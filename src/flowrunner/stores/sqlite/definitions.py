"""State machines, revisions and activities in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from flowrunner.errors import NotFound
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
        first = (machine.account, machine.name, machine.type, machine.created_at, machine.updated_at, machine.revision.id, _json(machine.tags))

        def work(cursor: apsw.Cursor) -> Machine:
            if cursor.execute(QUERIES["insert_machine"], first).fetchall():
                _keep(cursor, machine.revision)
            return _machine(cursor.execute(QUERIES["machine"], (machine.account, machine.name)).fetchall()[0])

        stored: Machine = await self._session.write(work, len(machine.revision.definition))
        return stored

    async def update_machine(self, account: str, name: str, revision: Revision) -> Machine:
        """See the contract."""

        def work(cursor: apsw.Cursor) -> Machine:
            if not cursor.execute(QUERIES["update_machine"], (account, name, revision.id, revision.created_at)).fetchall():
                raise NotFound("state machine", name)
            _keep(cursor, revision)
            return _machine(cursor.execute(QUERIES["machine"], (account, name)).fetchall()[0])

        stored: Machine = await self._session.write(work, len(revision.definition))
        return stored

    async def tag_machine(self, account: str, name: str, tags: Mapping[str, str]) -> None:
        """See the contract."""
        await self._tag("tag_machine", "state machine", account, name, tags)

    async def machine(self, account: str, name: str) -> Machine | None:
        """See the contract."""
        rows = self._session.read("machine", account, name)
        return _machine(rows[0]) if rows else None

    async def machines(self, account: str, *, limit: int = 100, after: str | None = None) -> Sequence[Machine]:
        """See the contract."""
        return [_machine(row) for row in await self._session.scan("machines", account, after, limit)]

    async def delete_machine(self, account: str, name: str) -> None:
        """See the contract."""
        await self._delete("delete_machine", account, name)

    async def revision(self, revision: str) -> Revision | None:
        """See the contract."""
        rows = self._session.read("revision", revision)
        return _revision(rows[0]) if rows else None

    async def create_activity(self, activity: Activity) -> Activity:
        """See the contract."""
        first = (activity.account, activity.name, activity.created_at, _json(activity.tags), _json(activity.settings))

        def work(cursor: apsw.Cursor) -> Activity:
            cursor.execute(QUERIES["insert_activity"], first).fetchall()
            return _activity(cursor.execute(QUERIES["activity"], (activity.account, activity.name)).fetchall()[0])

        stored: Activity = await self._session.write(work)
        return stored

    async def tag_activity(self, account: str, name: str, tags: Mapping[str, str]) -> None:
        """See the contract."""
        await self._tag("tag_activity", "activity", account, name, tags)

    async def activity(self, account: str, name: str) -> Activity | None:
        """See the contract."""
        rows = self._session.read("activity", account, name)
        return _activity(rows[0]) if rows else None

    async def activities(self, account: str, *, limit: int = 100, after: str | None = None) -> Sequence[Activity]:
        """See the contract."""
        return [_activity(row) for row in await self._session.scan("activities", account, after, limit)]

    async def delete_activity(self, account: str, name: str) -> None:
        """See the contract."""
        await self._delete("delete_activity", account, name)

    async def _tag(self, query: str, kind: str, account: str, name: str, tags: Mapping[str, str]) -> None:
        text = _json(tags)

        def work(cursor: apsw.Cursor) -> None:
            if not cursor.execute(QUERIES[query], (account, name, text)).fetchall():
                raise NotFound(kind, name)

        await self._session.write(work)

    async def _delete(self, query: str, account: str, name: str) -> None:
        def work(cursor: apsw.Cursor) -> None:
            cursor.execute(QUERIES[query], (account, name))

        await self._session.write(work)


def _keep(cursor: apsw.Cursor, revision: Revision) -> None:
    values = (revision.id, revision.account, revision.machine, revision.role_arn, revision.created_at, _json(revision.settings), revision.definition)
    cursor.execute(QUERIES["insert_revision"], values)


def _json(value: Mapping[str, object]) -> str:
    return orjson.dumps(dict(value)).decode()


def _revision(row: Row) -> Revision:
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


def _machine(row: Row) -> Machine:
    account, name, kind, created_at, updated_at, tags, *revision = row
    return Machine(
        account=account,
        name=name,
        type=kind,
        created_at=created_at,
        updated_at=updated_at,
        tags=orjson.loads(tags),
        revision=_revision(tuple(revision)),
    )


def _activity(row: Row) -> Activity:
    account, name, created_at, tags, settings = row
    return Activity(account=account, name=name, created_at=created_at, tags=orjson.loads(tags), settings=orjson.loads(settings))
