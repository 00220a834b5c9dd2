"""A test suite: JSON with ``tests``, a list of test cases, and ``variables`` that stand below those of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from flowrunner.core.program import Program
from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import JSONObject, JSONValue, dumps, loads
from flowrunner.kinds.info import KindInfo
from flowrunner.reading.document import read_document
from flowrunner.reading.findings import Findings
from flowrunner.reading.parsed import Parsed
from flowrunner.reading.scripts import Scripts
from flowrunner.workflow.fields import DUPLICATE_ID, MISSING_FIELD, SUITE, read_object
from flowrunner.workflow.parse import check_variables
from flowrunner.workflow.testcase import read_case


class Case(NamedTuple):
    """One test case of a suite, as a text of its own."""

    id: str
    text: str


def parse_suite(text: str, kinds: Mapping[str, KindInfo], templates: Mapping[str, JSONObject] | None = None) -> Parsed:
    """Read a whole suite. Never raises for what the text holds. `program` is that of the first test case, when all are sound."""
    found = Findings()
    try:
        document = read_document(text, "json")
    except InvalidDocument as error:
        found.unreadable(error, as_aws=False)
        return Parsed(None, found.diagnostics(authored=True))
    given = read_object(found, document.value, (), SUITE)
    check_variables(found, given.get("variables", {}), ("variables",))
    programs = _programs(found, given, kinds, templates or {})
    return Parsed(
        None if found.failed or not programs else programs[0],
        found.diagnostics(document.locate, authored=True),
        given.get("name"),
        given.get("description"),
        scripts=Scripts(tuple(found.scripts), document),
    )


def _programs(found: Findings, given: JSONObject, kinds: Mapping[str, KindInfo], templates: Mapping[str, JSONObject]) -> list[Program]:
    tests: list[JSONValue] = given.get("tests", [])
    if not tests:
        found.error(("tests",) if "tests" in given else (), "'tests' is missing: a suite has at least one test case.", MISSING_FIELD)
    programs: list[Program] = []
    seen: set[str] = set()
    for index, value in enumerate(tests):
        own = Findings()
        program, read = read_case(own, value, kinds, templates)
        name = read.get("testId")
        if not name and isinstance(value, dict):
            own.error((), "'testId' is missing: what the test case is called.", MISSING_FIELD)
        elif name in seen:
            own.error(("testId",), f"There is a test case '{name}' already.", DUPLICATE_ID)
        seen.add(name or "")
        found.absorb(own, ("tests", index))
        programs += [] if program is None else [program]
    return programs


def cases_of(text: str) -> list[Case]:
    """The test cases of a sound suite in order, each with the suite's variables below its own."""
    given = loads(text)
    below = given.get("variables") or {}
    return [Case(test["testId"], dumps({**test, "variables": {**below, **(test.get("variables") or {})}})) for test in given["tests"]]
