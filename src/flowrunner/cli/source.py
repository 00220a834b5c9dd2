"""Definitions and inputs from files and arguments, for the commands that read them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from flowrunner.cli.output import INVALID, Ended, complain, finding, say
from flowrunner.core.diagnostics import Diagnostic
from flowrunner.errors import ConfigurationError, InvalidDocument

if TYPE_CHECKING:
    from flowrunner.core.program import Program
    from flowrunner.reading.parsed import Parsed

SUFFIXES = (".flow.yaml", ".flow.yml", ".asl.json", ".asl.yaml", ".asl.yml", ".json", ".yaml", ".yml")
STANDARD_INPUT = "-"
_NODES = re.compile(r"""^(?:\{\s*)?\s*["']?nodes["']?\s*:""", re.MULTILINE)
_TEST = re.compile(r""""testId"\s*:""")
_TESTS = re.compile(r""""tests"\s*:""")
_STEPS = re.compile(r""""steps"\s*:""")
_STATES = re.compile(r"""["']?States["']?\s*:""")


Format = Literal["asl", "flow", "workflow", "test", "suite"]


class Source(NamedTuple):
    """A definition that was read: `definition` is JSON text (of a flow the text as it is), `written` what the file holds, `program` None when it has errors."""

    file: str
    name: str
    definition: str
    program: Program | None
    diagnostics: Sequence[Diagnostic]
    format: Format = "asl"
    written: str = ""


def read_text(file: str) -> str:
    """The text of a file, or of standard input for ``-``."""
    try:
        raw = sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror or error}.") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise InvalidDocument(f"{file}:{line}:{column}: error: the text is not UTF-8.", line=line, column=column) from None


def read_source(file: str) -> Source:
    """Read and check a definition, JSON or YAML by its name.

    It is a state machine; or, without states, a flow if it has nodes, a test case if it has a testId, a workflow if it has steps, a test suite if it has tests.
    """
    from flowrunner.asl.parse import parse_definition  # noqa: PLC0415  # as above
    from flowrunner.reading.findings import for_people  # noqa: PLC0415  # --help does not pay for it

    text = read_text(file)
    is_yaml = file.endswith((".yaml", ".yml"))
    written = text
    form = _form_of(text)
    if form is not None:
        from flowrunner.formats import READERS  # noqa: PLC0415  # as above
        from flowrunner.kinds import BUILT_IN  # noqa: PLC0415  # as above
        from flowrunner.workflow.testsuite import parse_suite  # noqa: PLC0415  # as above

        parsed = _with_scripts(parse_suite(text, BUILT_IN) if form == "suite" else READERS[form](text, BUILT_IN, {}))
        return Source(file, machine_name(file), text, parsed.program, parsed.diagnostics, form, written)
    program, diagnostics = parse_definition(text, syntax="yaml" if is_yaml else "json")
    if is_yaml and program is not None:
        from flowrunner.jsonvalue import dumps  # noqa: PLC0415  # as above
        from flowrunner.reading.document import read_document  # noqa: PLC0415  # as above

        text = dumps(read_document(text, "yaml").value)
    return Source(file, machine_name(file), text, program, for_people(diagnostics), "asl", written)


def _form_of(text: str) -> Literal["flow", "workflow", "test", "suite"] | None:
    """Which of the formats that are not state machines a text is in."""
    if _is_flow(text):
        return "flow"
    if _has_member(text, "testId", _TEST):
        return "test"
    if _has_member(text, "steps", _STEPS):
        return "workflow"
    return "suite" if _has_member(text, "tests", _TESTS) else None


def _with_scripts(parsed: Parsed) -> Parsed:
    """The same, with what is wrong with its scripts."""
    if not parsed.scripts.found:
        return parsed
    from flowrunner.tasks.javascript.check import check  # noqa: PLC0415  # only scripts pay for the engine

    problems = {source: problem for source in parsed.scripts.sources() if (problem := check(source)) is not None}
    return parsed.with_problems(problems)


def _is_flow(text: str) -> bool:
    """Whether a text is a flow: its top level has ``nodes``, and is no state machine. A text that cannot be read whole is known by its lines."""
    from flowrunner.reading.document import read_document  # noqa: PLC0415  # as above

    if _NODES.search(text) is None:
        return False
    try:
        value = read_document(text, "yaml").value
    except InvalidDocument:
        return _STATES.search(text) is None
    return isinstance(value, dict) and "nodes" in value and "States" not in value


def _has_member(text: str, name: str, written: re.Pattern[str]) -> bool:
    """Whether the top level of a JSON text has a member, and is no state machine. A text that cannot be read whole is known by its words."""
    from flowrunner.reading.document import read_document  # noqa: PLC0415  # as above

    if written.search(text) is None:
        return False
    try:
        value = read_document(text, "json").value
    except InvalidDocument:
        return text.lstrip().startswith("{") and _STATES.search(text) is None
    return isinstance(value, dict) and name in value and "States" not in value


def machine_name(file: str) -> str:
    """The state machine's name of a file: its name without its endings and what names cannot have."""
    if file == STANDARD_INPUT:
        return "standard-input"
    stem = Path(file).name
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in stem)[:80] or "machine"


def sound_program(source: Source) -> Program:
    """The program of a definition, findings told on stderr; ends with exit code 3 when one is an error."""
    for found in source.diagnostics:
        say(finding(found, source.file))
    if source.program is None:
        complain(f"{source.file} is not a valid definition.")
        raise Ended(INVALID)
    return source.program


def read_input(given: str) -> str:
    """The input of a run: JSON text, or the content of a file for ``@FILE``."""
    from flowrunner.jsonvalue import loads  # noqa: PLC0415  # as above

    text = read_text(given[1:]) if given.startswith("@") else given
    try:
        loads(text)
    except InvalidDocument as error:
        place = f"{given[1:] if given.startswith('@') else '--input'}:{error.line or 1}:{error.column or 1}"
        raise InvalidDocument(f"{place}: error: {error.message}", line=error.line, column=error.column) from None
    return text
