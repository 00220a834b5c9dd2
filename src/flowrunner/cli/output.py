"""What commands print: data on stdout in one of four forms, everything else on stderr; errors to sentences and exit codes."""

from __future__ import annotations

import asyncio
import codecs
import io
import json
import os
import re
import sys
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, TextIO, TypeVar

import orjson

from flowrunner.core.diagnostics import Diagnostic
from flowrunner.errors import AccessDenied, ConfigurationError, FlowRunnerError, InvalidDefinition, InvalidDocument, LimitExceeded, NotFound, StoreError

SUCCESS, FAILED, USAGE, INVALID, NOT_FOUND, DENIED, UNREACHABLE, TIMED_OUT, ABORTED = range(9)
CLIENT_TIMEOUT, INTERRUPTED = 124, 130
RUN_CODES = {"SUCCEEDED": SUCCESS, "FAILED": FAILED, "TIMED_OUT": TIMED_OUT, "ABORTED": ABORTED}
RUN_ENDINGS = {"SUCCEEDED": "succeeded", "FAILED": "failed", "TIMED_OUT": "timed out", "ABORTED": "was stopped"}
_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (ConfigurationError, USAGE),
    (InvalidDefinition, INVALID),
    (InvalidDocument, INVALID),
    (LimitExceeded, INVALID),
    (NotFound, NOT_FOUND),
    (AccessDenied, DENIED),
    (StoreError, UNREACHABLE),
    (TimeoutError, CLIENT_TIMEOUT),
)
_DENIED = ("AccessDenied", "MissingAuthentication", "UnrecognizedClient", "InvalidSignature", "ExpiredToken")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but for line breaks and tabs
COLUMN_GAP = 2  # characters between the columns of a table
LEAST_COLUMN = 8  # characters; narrower says nothing, and a column goes instead
CUT_COLUMNS = ("workflowId", "name", "error")  # half a time or an id says nothing at all
ESCAPED = "flowrunner.escaped"  # of a text, what its stream has no letters for

Result = TypeVar("Result")


class Form(StrEnum):
    """How data looks."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    yaml = "yaml"


class Ended(Exception):
    """The command is through with this exit code."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


def code_of(error: BaseException) -> int:
    """The exit code of a failure."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if not isinstance(error, FlowRunnerError):
        return FAILED
    status, name = error.status, error.code
    if status in (401, 403) or name.startswith(_DENIED):
        return DENIED
    if status == 404 or name.endswith("DoesNotExist"):
        return NOT_FOUND
    if status >= 500:
        return UNREACHABLE
    return INVALID


def complain(message: str, *, remedy: str | None = None) -> None:
    """Say what is wrong, and what helps."""
    text = f"flowrunner: {message}" if remedy is None else f"flowrunner: {message}\n  {remedy}"
    say(text)


def explain(error: BaseException) -> None:
    """Say what failed, and how to come right."""
    if isinstance(error, FlowRunnerError):
        complain(error.message, remedy=error.remedy)
    elif isinstance(error, TimeoutError):
        complain("The time of --timeout has passed; the run goes on.")
    elif os.environ.get("FLOWRUNNER_TRACEBACK"):
        raise error
    elif isinstance(error, OSError) and error.strerror:  # a full disk, a file that is not ours to use
        complain(f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}.")
    else:
        complain(f"Something unexpected went wrong: {type(error).__name__}: {error}", remedy="Set FLOWRUNNER_TRACEBACK=1 to see where, and please report it.")


@contextmanager
def _heard_or_not() -> Iterator[None]:
    """Tell people something, whether they still listen or not: the exit code says it anyway."""
    try:
        yield
    except BrokenPipeError:
        let_go(sys.stderr)


@_heard_or_not()
def say(text: str, *, quiet: bool = False) -> None:
    """Tell people something, on stderr. What a server or a service says in it cannot steer the terminal."""
    if not quiet:
        sys.stderr.write(f"{_CONTROL.sub(lambda found: repr(found[0])[1:-1], text)}\n")
        sys.stderr.flush()


def prepare_streams() -> None:
    """Let the streams take every text: what an encoding does not have is written as JSON writes it; a stream that is closed takes all and shows nothing."""
    codecs.register_error(ESCAPED, _escaped)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # a descriptor that is free would become that of the next file that is opened
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - the lowest free descriptor, to the end of the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)


def _escaped(error: UnicodeError) -> tuple[bytes, int]:
    """What stands for some letters: the byte that a file's name had there (PEP 383), else JSON's escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return b"".join(bytes([ord(one) - 0xDC00]) if "\udc80" <= one <= "\udcff" else json.dumps(one)[1:-1].encode() for one in letters), error.end


def let_go(stream: TextIO) -> None:
    """Write no more to a pipe whose reader has gone, not even at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def colour(*, stream: Any, disabled: bool = False) -> bool:
    """Whether to colour: only on a terminal, and not against NO_COLOR (https://no-color.org)."""
    return bool(stream.isatty()) and not disabled and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def wait_for(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end."""
    return asyncio.run(work)


def print_text(text: str) -> None:
    """Print data."""
    sys.stdout.write(text)
    sys.stdout.flush()


def as_json(value: Any, *, indent: bool = True) -> str:
    """A JSON value for people or lines; numbers outside 64 bits as they are."""
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else 0, default=str).decode()
    except TypeError:
        return json.dumps(value, indent=2 if indent else None, ensure_ascii=False, default=str)


def as_yaml(value: Any) -> str:
    """A JSON value as YAML."""
    from ruamel.yaml import YAML  # noqa: PLC0415  # only this form pays for it

    text = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # keep the order of keys
    writer.dump(value, text)
    return text.getvalue()


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], form: Form, *, no_color: bool = False, folded: Collection[str] = ()) -> None:
    """Print a list; `columns` maps keys to the headings of the table.

    A narrow terminal cuts only `CUT_COLUMNS`, goes on in further lines within the columns of the keys `folded`, and leaves out the last
    columns if that is not enough; the first column is what people copy and stays whole.
    """
    match form:
        case Form.json:
            print_text(as_json(list(rows)) + "\n")
        case Form.jsonl:
            print_text("".join(f"{as_json(row, indent=False)}\n" for row in rows))
        case Form.yaml:
            print_text(as_yaml([dict(row) for row in rows]))
        case _:
            _table(rows, columns, no_color=no_color, folded=folded)


def _table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, no_color: bool, folded: Collection[str]) -> None:
    cells = [[_cell(row.get(key)) for key in columns] for row in rows]
    if not sys.stdout.isatty():  # for other programs: columns between tabs, no widths to guess
        print_text("".join("\t".join(line) + "\n" for line in [list(columns.values()), *cells]))
        return
    from rich.cells import cell_len  # noqa: PLC0415  # only terminals pay for it
    from rich.console import Console  # noqa: PLC0415  # as above
    from rich.table import Table  # noqa: PLC0415  # as above
    from rich.text import Text  # noqa: PLC0415  # as above

    console = Console(no_color=not colour(stream=sys.stdout, disabled=no_color))
    cut = [place for place, key in enumerate(columns) if key in CUT_COLUMNS or key in folded]
    widths = _fitted([max(map(cell_len, texts)) for texts in zip(columns.values(), *cells, strict=True)], cut, console.width)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, COLUMN_GAP, 0, 0))
    for (key, heading), width in zip(columns.items(), widths, strict=False):
        table.add_column(heading, width=width, no_wrap=key not in folded, overflow="fold" if key in folded else "ellipsis")
    for line in cells:
        table.add_row(*(Text(cell) for cell in line[: len(widths)]))
    console.width = max(console.width, widths[0])
    console.print(table)


def _fitted(natural: Sequence[int], cut: Sequence[int], room: int) -> list[int]:
    """The widths of the columns that are shown: those at `cut` become narrower, the widest first; if that is not enough, the last column goes."""
    widths = list(natural)
    while sum(widths) + COLUMN_GAP * (len(widths) - 1) > room and len(widths) > 1:
        widest = max((place for place in cut if place < len(widths)), key=widths.__getitem__, default=0)
        if widest == 0 or widths[widest] <= LEAST_COLUMN:
            return _fitted(natural[:-1], cut, room)
        widths[widest] -= 1
    return widths


def show_document(document: Mapping[str, Any], form: Form) -> None:
    """Print one thing; as a table it is one ``name: value`` per line."""
    match form:
        case Form.json:
            print_text(as_json(document) + "\n")
        case Form.jsonl:
            print_text(as_json(document, indent=False) + "\n")
        case Form.yaml:
            print_text(as_yaml(dict(document)))
        case _:
            width = max(map(len, document), default=0)
            print_text("".join(f"{name:<{width}}  {_cell(value)}\n" for name, value in document.items()))


def _cell(value: Any) -> str:
    """One line of text that cannot steer a terminal."""
    text = "" if value is None else value if isinstance(value, str) else as_json(value, indent=False)
    return "".join(letter if letter.isprintable() else " " for letter in text)


def finding(found: Diagnostic, file: str) -> str:
    """A diagnostic as compilers print it: ``file:line:column: error: ...``, and in a second line what would mend it."""
    place = f"{file}:{found.line or 1}:{found.column or 1}"
    where = f" at {found.pointer}" if found.pointer else ""  # nothing can be pointed at in what is no document
    remedy = f"\n  {found.hint}" if found.hint else ""
    return f"{place}: {found.severity.lower()}: {found.message}{where} [{found.code}]{remedy}"
