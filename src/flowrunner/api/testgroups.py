"""Groups of test cases under ``/api/v2/groups`` (T): a tree, and runs of all that is in one."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import UNSET

from flowrunner.api.accounts import answer
from flowrunner.api.authoring import Authoring, Caller, listed, rows_of
from flowrunner.api.bodies import body_of
from flowrunner.api.contract import PAGED, Contract, Parameter
from flowrunner.api.idempotency import key_of
from flowrunner.api.page import limit_of
from flowrunner.api.preconditions import expected_of, tag
from flowrunner.api.problems import Refused, of_status
from flowrunner.api.testcases import machine_of, tests_of
from flowrunner.api.testshapes import BatchInfo, GroupChange, GroupInfo, GroupNode, NewGroup, shown_batch, shown_group
from flowrunner.api.workflows import Said, Variables
from flowrunner.definitions.records import Records, Stored
from flowrunner.definitions.testcases import GROUP, Batch, Group, Test, result_of
from flowrunner.definitions.testruns import AT_ONCE, MOST_AT_ONCE
from flowrunner.errors import Conflict, InvalidDocument
from flowrunner.identity.permissions import Permission
from flowrunner.ids import execution_id
from flowrunner.jsonvalue import dumps

GROUPS = "/api/v2/groups"
GROUP_PATH = f"{GROUPS}/{{group:str}}"
BATCHES = "/api/v2/runs"
MOST_TESTS = 200  # that one request begins
_READ, _WRITE, _START, _RUNS = Permission.MACHINES_READ, Permission.MACHINES_WRITE, Permission.EXECUTIONS_START, Permission.EXECUTIONS_READ


def tree_of(groups: Sequence[Group], tests: Sequence[Test]) -> list[GroupNode]:
    """Groups within groups; one whose parent is gone, or is within itself, stands at the top, and so does one that only test cases name."""
    groups = [*groups, *_only_named(groups, tests)]
    nodes = {group.id: GroupNode(**shown_group(group), children=[], tests=[test.id for test in tests if test.group == group.id]) for group in groups}
    parents = {group.id: group.parent for group in groups}
    top: list[GroupNode] = []
    for name, node in nodes.items():
        parent = parents[name]
        if parent in nodes and name not in _above(parent, parents):
            nodes[parent].children.append(node)
        else:
            top.append(node)
    return top


def _only_named(groups: Sequence[Group], tests: Sequence[Test]) -> list[Group]:
    """Groups that test cases name and nobody has made, by id; their times are those of their test cases."""
    made = {group.id for group in groups}
    found: dict[str, list[Test]] = {}
    for test in tests:
        if test.group not in made:
            found.setdefault(test.group, []).append(test)
    return [
        Group(id=name, name=name, created_at=min(test.created_at for test in of), updated_at=max(test.updated_at for test in of))
        for name, of in sorted(found.items())
    ]


def _above(name: str | None, parents: dict[str, str | None]) -> set[str]:
    seen: set[str] = set()
    while name is not None and name not in seen:
        seen.add(name)
        name = parents.get(name)
    return seen


def _within(name: str, groups: Sequence[Group]) -> set[str]:
    parents = {group.id: group.parent for group in groups}
    return {group.id for group in groups if name in _above(group.id, parents)}


def _told(stored: Stored[Group], status: int = 200) -> Response[bytes]:
    made = answer(GroupInfo(**shown_group(stored.entry)), status)
    made.headers["etag"] = tag(stored.tag)
    return made


def _concurrency(text: str | None) -> int:
    if text is None:
        return AT_ONCE
    if re.fullmatch(r"[0-9]{1,3}", text) is None or not 1 <= int(text) <= MOST_AT_ONCE:
        raise Refused(of_status(400, f"concurrency must be a whole number from 1 to {MOST_AT_ONCE}."))
    return int(text)


def routes(authoring: Authoring) -> list[HTTPRouteHandler]:
    """The handlers of this module."""
    groups = Records(authoring.store.documents, GROUP, "group", Group, reserved=frozenset({"tree"}), member="groupId")
    return [*_groups(authoring, groups), *_runs(authoring, groups)]


def _groups(authoring: Authoring, groups: Records[Group]) -> list[HTTPRouteHandler]:
    tests = tests_of(authoring.store.documents)

    async def all_groups(request: Caller) -> list[Group]:
        return [stored.entry for stored in await groups.all(request.user.account)]

    async def checked(request: Caller, group: Group) -> Group:
        if not group.name:
            raise InvalidDocument("A group has a name.", pointer="/name")
        known = await all_groups(request)
        if group.parent is not None and (group.parent not in {one.id for one in known} or group.parent in _within(group.id, known) | {group.id}):
            raise InvalidDocument("The parent of a group is another group that is not within it.", pointer="/parentId")
        return group

    @get(GROUPS, permission=_READ, operation_id="listGroups", contract=Contract(gives={200: list[GroupInfo]}))
    async def list_groups(request: Caller) -> Response[bytes]:
        """All groups, by id."""
        return answer([GroupInfo(**shown_group(group)) for group in await all_groups(request)])

    async def tree(request: Caller) -> Response[bytes]:
        found = [stored.entry for stored in await tests.all(request.user.account)]
        return answer(tree_of(await all_groups(request), found))

    @get(f"{GROUPS}/tree", permission=_READ, operation_id="getGroupTree", contract=Contract(gives={200: list[GroupNode]}))
    async def get_tree(request: Caller) -> Response[bytes]:
        """Groups within groups, with the ids of their test cases; a group that only test cases name stands at the top."""
        return await tree(request)

    @get("/api/v2/test-tree", permission=_READ, operation_id="getTestTree", contract=Contract(gives={200: list[GroupNode]}))
    async def get_test_tree(request: Caller) -> Response[bytes]:
        """The same tree under the source's other name."""
        return await tree(request)

    @post(GROUPS, permission=_WRITE, operation_id="createGroup", contract=Contract(takes=NewGroup, gives={201: GroupInfo}, fails=(409,), keyed=True))
    async def create_group(request: Caller) -> Response[bytes]:
        """Make a group."""
        given, now = await body_of(request, NewGroup), authoring.clock.now()
        name = f"group-{secrets.token_hex(8)}" if given.group_id is None else given.group_id
        groups.check_id(name)
        group = Group(id=name, name=given.name, parent=given.parent_id, type=given.type, description=given.description, created_at=now, updated_at=now)
        return _told(await groups.create(request.user.account, name, await checked(request, group)), 201)

    @get(GROUP_PATH, permission=_READ, operation_id="getGroup", contract=Contract(gives={200: GroupInfo}, fails=(404,)))
    async def get_group(request: Caller, group: FromPath[str]) -> Response[bytes]:
        """One group."""
        return _told(await groups.get(request.user.account, group))

    @put(
        GROUP_PATH,
        permission=_WRITE,
        operation_id="updateGroup",
        contract=Contract(takes=GroupChange, gives={200: GroupInfo}, fails=(404, 409, 412), tagged=True),
    )
    async def update_group(request: Caller, group: FromPath[str]) -> Response[bytes]:
        """Change a group; what is left out stays."""
        given = await body_of(request, GroupChange)
        parts = {"name": given.name, "parent": given.parent_id, "type": given.type, "description": given.description}
        changes: dict[str, Any] = {name: value for name, value in parts.items() if value is not UNSET}
        stored, expected = await groups.get(request.user.account, group), expected_of(request)
        changed = await checked(request, msgspec.structs.replace(stored.entry, **changes, updated_at=authoring.clock.now()))
        return _told(await groups.change(request.user.account, group, lambda _: changed, expected=stored.tag if expected is None else expected))

    @delete(
        GROUP_PATH,
        permission=_WRITE,
        operation_id="deleteGroup",
        status_code=200,
        contract=Contract(gives={200: Said}, fails=(404, 409, 412), tagged=True),
    )
    async def delete_group(request: Caller, group: FromPath[str]) -> Response[bytes]:
        """Remove a group that holds nothing."""
        await groups.get(request.user.account, group)
        held = any(stored.entry.group == group for stored in await tests.all(request.user.account))
        if held or any(one.parent == group for one in await all_groups(request)):
            raise Conflict(f"The group {group!r} holds test cases or groups: move or remove them first.")
        await groups.delete(request.user.account, group, expected=expected_of(request))
        return answer(Said("Group deleted successfully"))

    return [list_groups, get_tree, get_test_tree, create_group, get_group, update_group, delete_group]


def _runs(authoring: Authoring, groups: Records[Group]) -> list[HTTPRouteHandler]:
    tests, batches = tests_of(authoring.store.documents), authoring.testruns.records

    async def told(batch: Batch) -> BatchInfo:
        heads = [await authoring.executions.head(execution) for _, execution in batch.tests if execution]
        return shown_batch(batch, [result_of(head) for head in heads if head is not None])

    @post(
        f"{GROUP_PATH}/execute",
        permission=_START,
        counts_as="StartExecution",
        operation_id="executeGroup",
        status_code=202,
        contract=Contract(
            takes=Variables,
            gives={202: BatchInfo},
            fails=(404, 409, 413),
            query=(Parameter("concurrency", f"How many run at once ({AT_ONCE}).", "integer", least=1, most=MOST_AT_ONCE),),
            keyed=True,
            resumable=True,
        ),
    )
    async def execute_group(request: Caller, group: FromPath[str]) -> Response[bytes]:
        """Run every test case of a group and of the groups in it, ``?concurrency=`` (10) of them at once, by id; the variables stand over their own."""
        given = await body_of(request, Variables)
        account, at_once = request.user.account, _concurrency(request.query_params.get("concurrency"))
        await groups.get(account, group)
        names = _within(group, [stored.entry for stored in await groups.all(account)])
        found = [stored.entry for stored in await tests.all(account) if stored.entry.group in names and stored.entry.status == "active"]
        if len(found) > MOST_TESTS:
            raise Conflict(f"The group holds {len(found)} test cases; one request begins at most {MOST_TESTS}.")
        now = authoring.clock.now()
        batch = Batch(
            id=execution_id(now, secrets.token_bytes(10)),
            group=group,
            started_at=now,
            tests=tuple((test.id, "") for test in found),
            revisions=tuple([(await machine_of(authoring, account, test)).revision.id for test in found]),
            input=dumps(await authoring.input_of(account, given.variables)),
            concurrency=at_once,
        )
        return answer(await told(await authoring.testruns.begin(account, batch, key=key_of(request))), 202)

    @get(BATCHES, permission=_RUNS, operation_id="listGroupRuns", contract=Contract(gives={200: list[BatchInfo]}, query=PAGED))
    async def list_batches(request: Caller) -> Response[bytes]:
        """Runs of groups, newest first: ``?limit=`` (20) with ``&cursor=`` or ``&offset=``; the header ``Link`` has the next page."""
        limit = limit_of(request.query_params.get("limit", "20"))
        newest = (await batches.all(request.user.account))[::-1]
        found = rows_of(request, newest, lambda stored: stored.entry.id, "group runs", limit=limit, newest_first=True)
        return listed(request, [await told(stored.entry) for stored in found.rows], found.following)

    @get(f"{BATCHES}/{{batch:str}}", permission=_RUNS, operation_id="getGroupRun", contract=Contract(gives={200: BatchInfo}, fails=(404,)))
    async def get_batch(request: Caller, batch: FromPath[str]) -> Response[bytes]:
        """One run of a group with its results so far."""
        return answer(await told((await batches.get(request.user.account, batch)).entry))

    return [execute_group, list_batches, get_batch]
