"""Test cases under ``/api/v2/tests`` (T): kept, searched, executed, judged by what their executions say."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import msgspec
from litestar import Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import UNSET, UnsetType

from flowrunner.api.accounts import answer
from flowrunner.api.authoring import Authoring, Caller, by_of, listed, offset_of, page_answer, rows_of
from flowrunner.api.bodies import body_of
from flowrunner.api.checking import refused, warnings_in
from flowrunner.api.contract import CURSOR, LIMIT, PAGED, Contract, Parameter
from flowrunner.api.page import MAX_LIMIT, cursor, limit_of, place_of
from flowrunner.api.preconditions import expected_of, tag
from flowrunner.api.problems import ProblemError
from flowrunner.api.runs import locate
from flowrunner.api.secretshapes import time_of
from flowrunner.api.testshapes import (
    NewTest,
    TestChange,
    TestCounts,
    TestInfo,
    TestPage,
    TestResult,
    TestScore,
    TestSearch,
    TestStatistics,
    members_of,
    shown_result,
    shown_score,
    shown_test,
)
from flowrunner.api.workflows import Said, Variables
from flowrunner.clock import DAY
from flowrunner.definitions.entries import machine_name
from flowrunner.definitions.records import Records, Stored
from flowrunner.definitions.service import invalid
from flowrunner.definitions.testcases import FLAKY, LONG_MILLISECONDS, PREFIX, TEST, Result, Score, Test, result_of, score_of, text_of
from flowrunner.errors import InvalidDocument, NotFound
from flowrunner.identity.permissions import Permission
from flowrunner.jsonvalue import JSONValue
from flowrunner.ports.definitions import Machine
from flowrunner.ports.documents import DocumentStore
from flowrunner.ports.executions import ExecutionQuery, Head

TESTS = "/api/v2/tests"
TEST_PATH = f"{TESTS}/{{test:str}}"
_READ, _WRITE, _START, _RUNS = Permission.MACHINES_READ, Permission.MACHINES_WRITE, Permission.EXECUTIONS_START, Permission.EXECUTIONS_READ
RESERVED = frozenset({"search", "stats", "advanced-search", "statistics", "flaky"})
JUDGED = 50  # executions of a test case that its score is made of
MONTH = 30 * DAY
MOST_PER_PAGE = 100  # of an advanced search


def tests_of(documents: DocumentStore) -> Records[Test]:
    """The test cases of all accounts."""
    return Records(documents, TEST, "test case", Test, reserved=RESERVED, member="testId")


async def machine_of(authoring: Authoring, account: str, test: Test) -> Machine:
    """What an execution of a test case as it is now takes."""
    return await authoring.cases.unlisted(account, test.id, text_of(test), kept=True)


async def begun(authoring: Authoring, request: Caller, test: Test, variables: Mapping[str, JSONValue]) -> Head:
    """Begin an execution of a test case; `variables` stand over its own."""
    machine = await machine_of(authoring, request.user.account, test)
    return await authoring.start(request, machine, await authoring.input_of(request.user.account, variables))


async def _follow(authoring: Authoring, account: str, name: str) -> None:
    """Let steps of workflows find the test case as it is stored, until nobody has changed that meanwhile."""
    tests = tests_of(authoring.store.documents)
    stored = await tests.find(account, name)
    while True:
        await (authoring.cases.withdraw(account, name) if stored is None else authoring.cases.publish(account, name, text_of(stored.entry)))
        now = await tests.find(account, name)
        if (now and now.tag) == (stored and stored.tag):
            return
        stored = now


async def results_of(authoring: Authoring, account: str, test: str, limit: int, *, after: tuple[int, str] | None = None) -> list[Result]:
    """The last executions of a test case, newest first; those after a place in that list."""
    query = ExecutionQuery(account=account, machine=machine_name("test", test), limit=limit, after=after)
    return [result_of(head) for head in await authoring.executions.list(query)]


async def _scores(authoring: Authoring, account: str, found: list[Test]) -> list[tuple[Test, Score]]:
    return [(test, score_of(await results_of(authoring, account, test.id, JUDGED))) for test in found]


def routes(authoring: Authoring) -> list[HTTPRouteHandler]:
    """The handlers of this module."""
    return [*_collection(authoring), *_statistics(authoring), *_one(authoring), *_results(authoring)]


async def _checked(authoring: Authoring, request: Caller, test: Test) -> list[ProblemError] | UnsetType:
    """What is doubtful about a test case; raises InvalidDocument or InvalidDefinition for one that could not be executed."""
    if not test.name:
        raise InvalidDocument("A test case has a name.", pointer="/name")
    if not test.group:
        raise InvalidDocument("A test case has a group.", pointer="/groupId")
    if not 0 <= test.timeout <= 100_000:
        raise InvalidDocument("timeout is 0 to 100000 seconds.", pointer="/timeout")
    parsed = await authoring.cases.check(request.user.account, text_of(test))
    if parsed.program is None:
        raise await refused(request, "test", invalid("test", parsed.diagnostics))
    return await warnings_in(request, parsed, "")


def _told(stored: Stored[Test], status: int = 200, warnings: list[ProblemError] | UnsetType = UNSET) -> Response[bytes]:
    made = answer(msgspec.structs.replace(shown_test(stored.entry), warnings=warnings), status)
    made.headers["etag"] = tag(stored.tag)
    return made


def _named(test: Test, words: str) -> bool:
    text = " ".join((test.id, test.name, test.objective, *test.tags)).casefold()
    return all(word in text for word in words.casefold().split())


def _collection(authoring: Authoring) -> list[HTTPRouteHandler]:
    tests = tests_of(authoring.store.documents)

    async def page(request: Caller, found: list[Test], marks: str) -> Response[bytes]:
        limit, offset = limit_of(request.query_params.get("limit", "20")), offset_of(request.query_params.get("offset"))
        part = rows_of(request, found, lambda test: test.id, marks, limit=limit)
        return page_answer(request, TestPage([shown_test(test) for test in part.rows], len(found), limit, offset, part.following))

    async def everything(request: Caller) -> list[Test]:
        return [stored.entry for stored in await tests.all(request.user.account)]

    @get(TESTS, permission=_READ, operation_id="listTests", contract=Contract(gives={200: TestPage}, query=PAGED))
    async def list_tests(request: Caller) -> Response[bytes]:
        """Test cases by id: ``?limit=&cursor=`` or ``?limit=&offset=``."""
        return await page(request, await everything(request), "tests")

    @get(
        f"{TESTS}/search",
        permission=_READ,
        operation_id="searchTests",
        contract=Contract(gives={200: TestPage}, query=(Parameter("q", "Words, all of which are in id, name, objective or tags."), *PAGED)),
    )
    async def search_tests(request: Caller) -> Response[bytes]:
        """Test cases that have all these words: ``?q=&limit=&cursor=`` or ``&offset=``."""
        words = request.query_params.get("q", "")
        return await page(request, [test for test in await everything(request) if _named(test, words)], f"tests\n{words}")

    @post(
        f"{TESTS}/advanced-search",
        permission=_READ,
        operation_id="searchTestsBy",
        status_code=200,
        contract=Contract(takes=TestSearch, gives={200: TestPage}),
    )
    async def advanced_search(request: Caller) -> Response[bytes]:
        """Test cases that meet all conditions, also those about their last executions."""
        given = await body_of(request, TestSearch)
        if not 1 <= given.page <= MAX_LIMIT:
            raise InvalidDocument(f"page is 1 to {MAX_LIMIT}.", pointer="/page")
        if not 1 <= given.page_size <= MOST_PER_PAGE:
            raise InvalidDocument(f"pageSize is 1 to {MOST_PER_PAGE}.", pointer="/pageSize")
        before = time_of(given.last_run_before, "/lastRunBefore")
        found = [test for test in await everything(request) if _named(test, given.keywords) and _is(test, given)]
        judged = [test for test, score in await _scores(authoring, request.user.account, found) if _scored(score, given, before)]
        offset = (given.page - 1) * given.page_size
        return answer(TestPage([shown_test(test) for test in judged[offset : offset + given.page_size]], len(judged), given.page_size, offset))

    @post(TESTS, permission=_WRITE, operation_id="createTest", contract=Contract(takes=NewTest, gives={201: TestInfo}, fails=(409,), keyed=True))
    async def create_test(request: Caller) -> Response[bytes]:
        """Keep a new test case."""
        given, now = await body_of(request, NewTest), authoring.clock.now()
        members = members_of(given)
        members["owner"] = members["owner"] or by_of(request.user)
        tests.check_id(given.test_id)
        test = Test(id=given.test_id, created_at=now, updated_at=now, **members)
        doubtful = await _checked(authoring, request, test)
        stored = await tests.create(request.user.account, test.id, test)
        await _follow(authoring, request.user.account, test.id)
        return _told(stored, 201, doubtful)

    return [list_tests, search_tests, advanced_search, create_test]


def _is(test: Test, given: TestSearch) -> bool:
    return (
        (not given.priorities or test.priority in given.priorities)
        and (not given.statuses or test.status in given.statuses)
        and (not given.tags or not set(given.tags).isdisjoint(test.tags))
        and given.owner_id in (None, test.owner)
    )


def _scored(score: Score, given: TestSearch, before: object) -> bool:
    return (
        (given.success_rate_min is None or (score.runs > 0 and score.success_rate >= given.success_rate_min))
        and (given.success_rate_max is None or (score.runs > 0 and score.success_rate <= given.success_rate_max))
        and (given.is_flaky is None or (score.flaky >= FLAKY) == given.is_flaky)
        and (not isinstance(before, int) or score.last_run is None or score.last_run < before)
    )


def _statistics(authoring: Authoring) -> list[HTTPRouteHandler]:
    tests = tests_of(authoring.store.documents)

    async def judged(request: Caller) -> list[tuple[Test, Score]]:
        account = request.user.account
        return await _scores(authoring, account, [stored.entry for stored in await tests.all(account)])

    @get(f"{TESTS}/stats", permission=_READ, operation_id="countTests", contract=Contract(gives={200: TestCounts}))
    async def count_tests(request: Caller) -> Response[bytes]:
        """How many test cases there are, by type, priority and status."""
        found = [stored.entry for stored in await tests.all(request.user.account)]
        by = [dict(Counter(str(getattr(test, name)) for test in found)) for name in ("type", "priority", "status")]
        return answer(TestCounts(len(found), *by))

    @get(f"{TESTS}/statistics", permission=_RUNS, operation_id="getTestStatistics", contract=Contract(gives={200: TestStatistics}))
    async def show_statistics(request: Caller) -> Response[bytes]:
        """What the last executions say of all test cases."""
        found, now = await judged(request), authoring.clock.now()
        return answer(
            TestStatistics(
                total=len(found),
                mine=sum(test.owner == by_of(request.user) for test, _ in found),
                p0=sum(test.priority == "P0" for test, _ in found),
                flaky=sum(score.flaky >= FLAKY for _, score in found),
                long_running=sum(score.average_milliseconds > LONG_MILLISECONDS for _, score in found),
                not_run_recently=sum(score.last_run is None or score.last_run < now - MONTH for _, score in found),
                tag_cloud=dict(Counter(word for test, _ in found for word in test.tags)),
            )
        )

    @get(f"{TESTS}/flaky", permission=_RUNS, operation_id="listFlakyTests", contract=Contract(gives={200: list[TestScore]}))
    async def list_flaky(request: Caller) -> Response[bytes]:
        """Test cases of which 70 % or more of the last executions came out other than the one before, the worst first."""
        found = [(test, score) for test, score in await judged(request) if score.flaky >= FLAKY]
        found.sort(key=lambda one: -one[1].flaky)
        return answer([shown_score(test.id, score) for test, score in found])

    return [count_tests, show_statistics, list_flaky]


def _one(authoring: Authoring) -> list[HTTPRouteHandler]:
    tests = tests_of(authoring.store.documents)

    @get(TEST_PATH, permission=_READ, operation_id="getTest", contract=Contract(gives={200: TestInfo}, fails=(404,)))
    async def get_test(request: Caller, test: FromPath[str]) -> Response[bytes]:
        """One test case."""
        return _told(await tests.get(request.user.account, test))

    @put(
        TEST_PATH,
        permission=_WRITE,
        operation_id="updateTest",
        contract=Contract(takes=TestChange, gives={200: TestInfo}, fails=(404, 409, 412), tagged=True),
    )
    async def update_test(request: Caller, test: FromPath[str]) -> Response[bytes]:
        """Change a test case; what is left out stays."""
        given = await body_of(request, TestChange)
        if given.test_id not in (None, test):
            raise InvalidDocument("The id of a test case does not change.", pointer="/testId")
        stored, expected = await tests.get(request.user.account, test), expected_of(request)
        changed = msgspec.structs.replace(stored.entry, **members_of(given), updated_at=authoring.clock.now())
        doubtful = await _checked(authoring, request, changed)
        kept = await tests.change(request.user.account, test, lambda _: changed, expected=stored.tag if expected is None else expected)
        await _follow(authoring, request.user.account, test)
        return _told(kept, warnings=doubtful)

    @delete(
        TEST_PATH,
        permission=_WRITE,
        operation_id="deleteTest",
        status_code=200,
        contract=Contract(gives={200: Said}, fails=(404, 409, 412), tagged=True),
    )
    async def delete_test(request: Caller, test: FromPath[str]) -> Response[bytes]:
        """Remove a test case; its results stay."""
        await tests.delete(request.user.account, test, expected=expected_of(request))
        await _follow(authoring, request.user.account, test)
        return answer(Said("Test deleted successfully"))

    @post(
        f"{TEST_PATH}/execute",
        permission=_START,
        counts_as="StartExecution",
        operation_id="executeTest",
        status_code=202,
        contract=Contract(takes=Variables, gives={202: TestResult}, fails=(404, 409, 413), keyed=True, resumable=True),
    )
    async def execute_test(request: Caller, test: FromPath[str]) -> Response[bytes]:
        """Begin an execution of a test case, with variables over its own; its result is that of the run."""
        given = await body_of(request, Variables)
        stored = await tests.get(request.user.account, test)
        return answer(shown_result(result_of(await begun(authoring, request, stored.entry, given.variables))), 202)

    return [get_test, update_test, delete_test, execute_test]


def _results(authoring: Authoring) -> list[HTTPRouteHandler]:
    tests = tests_of(authoring.store.documents)

    @get(
        f"{TEST_PATH}/history",
        permission=_RUNS,
        operation_id="getTestHistory",
        contract=Contract(gives={200: list[TestResult]}, fails=(404,), query=(LIMIT, CURSOR)),
    )
    async def get_history(request: Caller, test: FromPath[str]) -> Response[bytes]:
        """The last results of a test case, newest first: ``?limit=`` (10) with ``&cursor=``; the header ``Link`` has the next page."""
        await tests.get(request.user.account, test)
        limit, question = limit_of(request.query_params.get("limit", "10")), f"{request.user.account}\nhistory\n{test}"
        found = await results_of(authoring, request.user.account, test, limit + 1, after=place_of(request.query_params.get("cursor"), question))
        last = found[limit - 1] if len(found) > limit else None
        return listed(request, [shown_result(result) for result in found[:limit]], None if last is None else cursor(last.started_at, last.id, question))

    @get("/api/v2/results/{result:str}", permission=_RUNS, operation_id="getTestResult", contract=Contract(gives={200: TestResult}, fails=(404,)))
    async def get_result(request: Caller, result: FromPath[str]) -> Response[bytes]:
        """One result; its steps and logs are those of the run of the same id."""
        head = await locate(authoring.executions, request.user, result)
        if not head.machine.startswith(PREFIX):
            raise NotFound("result", result)
        return answer(shown_result(result_of(head)))

    @get(
        "/api/v2/workflows/{workflow:str}/test-cases",
        permission=_READ,
        operation_id="listTestsOfWorkflow",
        contract=Contract(gives={200: list[TestInfo]}, fails=(404,)),
    )
    async def list_of_workflow(request: Caller, workflow: FromPath[str]) -> Response[bytes]:
        """The test cases that run a workflow."""
        _, found = await asyncio.gather(authoring.workflows.get(request.user.account, workflow), tests.all(request.user.account))
        return answer([shown_test(stored.entry) for stored in found if stored.entry.workflow == workflow])

    return [get_history, get_result, list_of_workflow]
