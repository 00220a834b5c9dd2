"""A run as it goes: a live tree of states on a terminal, lines with their times otherwise, or JSON lines for tools."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from flowrunner.cli.output import as_json, colour
from flowrunner.errors import InvalidDocument
from flowrunner.jsonvalue import loads

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

Message = dict[str, Any]
SHOWN_CHILDREN = 12  # of one state; the rest (the items of a Map) is counted
ITERATION = "iteration"  # the `kind` of a visit that is no state's
_CONTAINERS = ("Parallel", "Map")
_CLOSES = {
    "state_exited": "done",
    "state_aborted": "stopped",
    "map_iteration_succeeded": "done",
    "map_iteration_failed": "failed",
    "map_iteration_aborted": "stopped",
}
_TROUBLE = ("failed", "timed_out")


class Kind(StrEnum):
    """How progress is shown."""

    auto = "auto"
    tree = "tree"
    lines = "lines"
    json = "json"


class Progress(Protocol):
    """Is shown the messages of one run, in order."""

    def show(self, message: Message) -> None:
        """Take one message."""
        ...

    def close(self) -> None:
        """Show no more."""
        ...


def progress_of(kind: Kind, stream: TextIO, *, no_color: bool = False) -> Progress:
    """What was asked for; `auto` looks whether `stream` is a terminal."""
    if kind is Kind.json:
        return JsonLines(stream)
    if kind is Kind.tree or (kind is Kind.auto and stream.isatty()):
        return LiveTree(stream, no_color=no_color)
    return Lines(stream)


class JsonLines:
    """The messages as they are, one per line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, message: Message) -> None:
        """Print it."""
        print(as_json(message, indent=False), file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing is open."""


class Lines:
    """``time  type  name  what went wrong``; a task's events have the name of the state they follow from."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._names: dict[int, str] = {}

    def show(self, message: Message) -> None:
        """Print it; where a run has come to is what the line of the step says."""
        payload = message["payload"]
        if "node" in payload:
            return
        name = str(payload.get("name") or payload.get("stepName") or payload.get("varName") or payload.get("stepId") or payload.get("executionStatus") or "")
        if message["type"].startswith("task_"):
            name = self._names.get(payload.get("previousEventId", 0), "")
        if "eventId" in payload:
            self._names[payload["eventId"]] = name
        parts = [message.get("ts", ""), message["type"], name]
        parts += [_printable(f"{payload.get('error') or payload.get('message') or ''} {_said(payload.get('cause') or '')}")]
        print("  ".join(part for part in parts if part.strip()), file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing is open."""


def _said(cause: str) -> str:
    """What a cause says: a function's own message out of Lambda's error object, anything else as it is."""
    try:
        told = loads(cause)
    except InvalidDocument:
        return cause
    return str(told["errorMessage"]) if isinstance(told, dict) and "errorMessage" in told else cause


def _printable(text: str) -> str:
    line = "".join(letter if letter.isprintable() else " " for letter in text).strip()
    return line if len(line) <= 200 else f"{line[:197]}..."


@dataclass(slots=True)
class Visit:
    """One stay in a state, or one iteration of a Map, whose `kind` is ITERATION. `began` and `ended` are the messages' times."""

    name: str
    kind: str
    parent: Visit | None
    began: str = ""
    ended: str = ""
    index: int | None = None
    status: str = "running"
    retries: int = 0
    failed: bool = False  # what was tried last has failed, and nothing has made up for it
    trouble: str = ""
    children: list[Visit] = field(default_factory=list)

    def close(self, status: str, at: str) -> None:
        """Leave it, and what is still open within it."""
        _give_up(self.children, at)
        self.status, self.ended = status, at

    def again(self) -> None:
        """Note a retry; a container begins anew."""
        self.retries += 1
        self.failed = False
        self.children.clear()


def _give_up(visits: list[Visit], at: str) -> None:
    for visit in visits:
        if visit.status == "running":
            visit.close("failed" if visit.failed or visit.kind == "Fail" else "stopped", at)


class States:
    """The visits of a run, made from its messages by their causal parents."""

    def __init__(self) -> None:
        self.top: list[Visit] = []
        self.status = "RUNNING"
        self._at: dict[int, Visit] = {}

    def take(self, message: Message) -> None:
        """Learn from one message."""
        kind, payload, at = message["type"], message["payload"], message.get("ts", "")
        if kind == "end":
            self.status = payload["executionStatus"]
            _give_up(self.top, at)
            return
        before = self._at.get(payload.get("previousEventId") or 0)
        if kind == "state_entered":
            visit: Visit | None = self._opened(Visit(str(payload.get("name", "")), str(payload.get("stateType", "")), _inside(before), at))
        elif kind == "map_iteration_started":
            parent = _outwards(before, kind="Map", name=payload.get("name"))
            visit = self._opened(Visit(f"[{payload.get('index')}]", ITERATION, parent, at, index=payload.get("index")))
        else:
            visit = _meant(kind, payload, before)
        if visit is None:
            return
        if payload.get("eventId") is not None:
            self._at[payload["eventId"]] = visit
        _note(visit, kind, payload, at)

    def _opened(self, visit: Visit) -> Visit:
        (self.top if visit.parent is None else visit.parent.children).append(visit)
        return visit


def _inside(before: Visit | None) -> Visit | None:
    """Where a state is entered: a first one comes after the event of what it is in, the next ones after a state that was left."""
    return before if before is None or (before.kind in (*_CONTAINERS, ITERATION) and before.status == "running") else before.parent


def _outwards(visit: Visit | None, **wanted: object) -> Visit | None:
    """The innermost visit from here outwards that is not over and is so."""
    while visit is not None and (visit.status != "running" or any(getattr(visit, name) != value for name, value in wanted.items())):
        visit = visit.parent
    return visit


def _meant(kind: str, payload: dict[str, Any], before: Visit | None) -> Visit | None:
    """The visit an event is about: what ends a container or an iteration comes after the last event within it, so look outwards."""
    if kind.startswith("map_iteration"):
        return _outwards(before, kind=ITERATION, index=payload.get("index"))
    if kind == "state_exited":
        return _outwards(before, name=payload.get("name"))
    return _outwards(before, kind=payload["stateType"]) if "stateType" in payload else before


def _note(visit: Visit, kind: str, payload: dict[str, Any], at: str) -> None:
    if kind in _CLOSES:
        visit.close("caught" if kind == "state_exited" and visit.failed else _CLOSES[kind], at)
    elif (kind == "task_scheduled" and visit.failed) or (kind == "state_started" and visit.children):
        visit.again()
    elif kind.endswith(_TROUBLE):
        visit.failed, visit.trouble = True, str(payload.get("error") or "")
    elif kind in ("task_succeeded", "state_succeeded"):
        visit.failed, visit.trouble = False, ""


def lasted(began: str, ended: str) -> str:
    """The time between two moments of messages, for people."""
    milliseconds = round((datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds() * 1000)
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(milliseconds // 1000, 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class LiveTree:
    """The states as a tree that is drawn again when something happens."""

    def __init__(self, stream: TextIO, *, no_color: bool = False) -> None:
        from rich.console import Console  # noqa: PLC0415  # only this form pays for it
        from rich.live import Live  # noqa: PLC0415  # as above

        self._states = States()
        console = Console(file=stream, no_color=not colour(stream=stream, disabled=no_color), force_terminal=True if stream.isatty() else None)
        self._live = Live(console=console, auto_refresh=False, get_renderable=self._draw, vertical_overflow="ellipsis")
        self._live.start()

    def show(self, message: Message) -> None:
        """Take one message and draw."""
        self._states.take(message)
        self._live.refresh()

    def close(self) -> None:
        """Leave the last picture."""
        self._live.stop()
        if not self._live.console.is_terminal:  # rich ends the line on a terminal only
            self._live.console.line()

    def _draw(self) -> Tree:
        from rich.text import Text  # noqa: PLC0415  # as above
        from rich.tree import Tree  # noqa: PLC0415  # as above

        tree = Tree(Text(f"run {self._states.status}", style="bold"))
        for visit, line in _shown(self._states.top):
            _grow(tree, visit, line)
        return tree


_MARKS = {"running": ("●", "yellow"), "done": ("✔", "green"), "stopped": ("■", "red"), "caught": ("✗", "red"), "failed": ("✗", "red")}


def _grow(tree: Tree, visit: Visit | None, line: Text) -> None:
    branch = tree.add(line)
    for child, text in _shown(visit.children if visit is not None else []):
        _grow(branch, child, text)


def _shown(visits: list[Visit]) -> Iterator[tuple[Visit | None, Text]]:
    """The lines of one level: the newest visits, and what the older ones come to."""
    from rich.text import Text  # noqa: PLC0415  # as above

    older, newest = (visits[:-SHOWN_CHILDREN], visits[-SHOWN_CHILDREN:]) if len(visits) > SHOWN_CHILDREN else ([], visits)
    if older:
        counts = Counter(visit.status for visit in older)
        yield None, Text("... " + ", ".join(f"{number} {status}" for status, number in counts.items()), style="dim")
    for visit in newest:
        mark, style = _MARKS[visit.status]
        text = Text(f"{mark} ", style=style).append(_printable(visit.name), style="default")
        if visit.kind != ITERATION:
            text.append(f"  {visit.kind}", style="dim")
        if visit.began and visit.ended:
            text.append(f"  {lasted(visit.began, visit.ended)}", style="dim")
        if visit.retries:
            text.append(f"  retry {visit.retries}", style="yellow")
        if visit.trouble:
            text.append(f"  {_printable(visit.trouble)}", style="red")
        yield visit, text


def on_stderr(kind: Kind, *, no_color: bool = False) -> Progress:
    """Progress beside the data that goes to stdout."""
    return progress_of(kind, sys.stderr, no_color=no_color)
