"""Commands about definitions: ``validate``, ``graph``, ``schema`` and ``convert``."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from flowrunner.cli.options import Json, Output, Quiet, form_of
from flowrunner.cli.output import INVALID, USAGE, Ended, Form, as_json, complain, finding, print_text, say, show_rows
from flowrunner.cli.source import read_source, sound_program


class Schema(StrEnum):
    """What there is a schema of."""

    flow = "flow"
    workflow = "workflow"
    test_case = "test-case"
    test_suite = "test-suite"


class Target(StrEnum):
    """What a definition is converted to."""

    asl = "asl"
    flow = "flow"
    workflow = "workflow"
    steps = "steps"


class Drawing(StrEnum):
    """How a graph is drawn."""

    mermaid = "mermaid"
    dot = "dot"
    svg = "svg"
    json = "json"


def validate(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Definitions, JSON or YAML; - is standard input.")],
    *,
    output: Output = Form.table,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check definitions; every finding is told with file, line and column (exit code 3 when one is an error).

    Example: flowrunner validate order.asl.json
    """
    form = form_of(output, json)
    sources = [read_source(file) for file in files]
    if form is Form.table:
        print_text("".join(f"{finding(found, source.file)}\n" for source in sources for found in source.diagnostics))
    else:
        show_rows([_row(source.file, found) for source in sources for found in source.diagnostics], {}, form)
    broken = [source.file for source in sources if source.program is None]
    if broken:
        say(f"{len(broken)} of {len(sources)} not valid: {', '.join(broken)}", quiet=quiet)
        raise Ended(INVALID)
    say(f"{'It is' if len(sources) == 1 else f'All {len(sources)} are'} valid. Try: flowrunner run {files[0]} --follow", quiet=quiet)


def _row(file: str, found: Any) -> dict[str, Any]:
    return {
        "file": file,
        "line": found.line,
        "column": found.column,
        "severity": found.severity,
        "code": found.code,
        "message": found.message,
        "pointer": found.pointer,
        "hint": found.hint,
    }


def graph(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A definition; - is standard input.")],
    *,
    drawing: Annotated[Drawing, typer.Option("--format", "-f", help="How to draw.")] = Drawing.mermaid,
) -> None:
    """Draw the states of a definition, on stdout.

    Example: flowrunner graph order.asl.json --format svg > order.svg
    """
    from flowrunner.core import draw, picture  # noqa: PLC0415  # --help does not pay for it

    found = draw.graph_of(sound_program(read_source(file)))
    match drawing:
        case Drawing.svg:
            print_text(picture.as_svg(found))
        case Drawing.dot:
            print_text(draw.as_dot(found))
        case Drawing.json:
            print_text(as_json(draw.as_json(found)) + "\n")
        case _:
            print_text(draw.as_mermaid(found))


def schema(
    form: Annotated[Schema, typer.Argument(metavar="FORMAT", help="The format.")],
) -> None:
    """Print the JSON Schema of a format, for editors: what they complete and check a definition by.

    Example: flowrunner schema flow > flow.schema.json
    """
    from flowrunner.flow.schema import flow_schema  # noqa: PLC0415  # --help does not pay for it
    from flowrunner.kinds import KINDS  # noqa: PLC0415  # as above
    from flowrunner.workflow.schema import workflow_schema  # noqa: PLC0415  # as above
    from flowrunner.workflow.testschema import suite_schema, testcase_schema  # noqa: PLC0415  # as above

    schemas = {Schema.flow: flow_schema, Schema.workflow: workflow_schema, Schema.test_case: testcase_schema, Schema.test_suite: suite_schema}
    print_text(as_json(schemas[form](KINDS)) + "\n")


def convert(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A definition; - is standard input.")],
    *,
    to: Annotated[Target, typer.Option("--to", help="The format to convert it to; steps is another name of workflow.")] = Target.asl,
) -> None:
    """Write a definition in another format, on stdout, where the meaning is the same; what has no counterpart is told (exit code 3).

    Example: flowrunner convert orders.yaml --to asl > orders.asl.json
    """
    from flowrunner.conversion import convert as converted  # noqa: PLC0415  # --help does not pay for it
    from flowrunner.kinds import BUILT_IN  # noqa: PLC0415  # as above

    source = read_source(file)
    form = "workflow" if to is Target.steps else to.value
    if source.format == form:
        complain(f"{file} is {NAMED[form]} already: name another format with --to.")
        raise Ended(USAGE)
    sound_program(source)
    if source.format in ("test", "suite"):
        complain(f"{file} is {NAMED[source.format]}: state machines, flows and workflows can be converted.")
        raise Ended(INVALID)
    made = converted(source.written, source.format, form, BUILT_IN, source.name)
    for one in made.diagnostics:
        say(finding(one, file))
    if made.definition is None:
        complain(f"{file} cannot be converted to {NAMED[form]}.")
        raise Ended(INVALID)
    print_text(as_json(made.definition) + "\n")


NAMED = {"asl": "a state machine", "flow": "a flow", "workflow": "a workflow", "test": "a test case", "suite": "a test suite"}
COMMANDS: dict[str, Callable[..., None]] = {"validate": validate, "graph": graph, "schema": schema, "convert": convert}
