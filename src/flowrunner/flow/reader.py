"""Reading the members of a flow: each against its row in ``fields``, every fault found with its place and a remedy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flowrunner.flow.fields import EXTENSION, Member, Members
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds.durations import read_limit, read_milliseconds
from flowrunner.reading.findings import Findings, Place
from flowrunner.reading.wording import meant, shown

UNKNOWN_FIELD = "UNKNOWN_FIELD"
INVALID_VALUE = "INVALID_VALUE"
MISSING_FIELD = "MISSING_FIELD"
MERGE_KEY = "<<"  # of YAML 1.1; what it would bring is not said to be missing
NOUNS = {
    "text": "a text",
    "script": "a text of JavaScript",
    "object": "an object",
    "flag": "true or false",
    "texts": "a list of texts",
    "version": "a text or a number",
    "edges": "an object of actions and nodes, or the name of a node",
}


def read_members(found: Findings, value: JSONValue, place: Place, members: Members, *, extensible: bool = False) -> JSONObject:
    """The members that are sound, durations as milliseconds; what is wrong with the others is among the findings."""
    if not isinstance(value, dict):
        found.error(place, f"It must be an object with {', '.join(members)}; {shown(value)} stands there.", INVALID_VALUE)
        return {}
    good: JSONObject = {}
    for name, part in value.items():
        member = members.get(name)
        if name == MERGE_KEY:
            said = f"'{name}' is not known here: YAML 1.2 has no merge key."
            found.error((*place, name), said, UNKNOWN_FIELD, hint="Write its members out, or give the whole object by its alias: 'params: *name'.")
        elif member is None:
            if not (extensible and name.startswith(EXTENSION)):
                found.error((*place, name), f"'{name}' is not known here.", UNKNOWN_FIELD, hint=meant(name, members))
        elif part is None and not member.required:
            continue
        else:
            _read(found, part, (*place, name), member, good)
    for name, member in members.items():
        if member.required and name not in value and MERGE_KEY not in value:
            found.error(place, f"'{name}' is missing: {member.meaning}", MISSING_FIELD, hint=f"Add '{name}'.")
    return good


def _read(found: Findings, value: JSONValue, place: Place, member: Member, good: JSONObject) -> None:
    name = str(place[-1])
    if member.type in ("duration", "limit"):
        try:
            good[name] = (read_limit if member.type == "limit" and not found.kept else read_milliseconds)(value)
        except ValueError as error:
            found.error(place, f"'{name}' {error}; {shown(value)} stands there.", INVALID_VALUE, hint=member.meaning)
        return
    if member.type == "edges" and isinstance(value, dict):
        good[name] = {action: target for action, target in value.items() if _leads(found, target, (*place, action))}
        return
    wrong = _wrong(value, member)
    if wrong is None:
        good[name] = value
    else:
        found.error(place, f"'{name}' must be {wrong}; {shown(value)} stands there.", INVALID_VALUE, hint=member.meaning)


def _leads(found: Findings, target: JSONValue, place: Place) -> bool:
    """Whether an edge names a node, as a text."""
    if _is_text(target):
        return True
    said = f"The edge '{place[-1]}' must be the name of a node; {shown(target)} stands there."
    if target is None:
        hint = "Leave it out: a flow ends behind an action without an edge. Where there is 'default', lead it to a node of the kind 'merge' that leads nowhere."
    elif isinstance(target, bool | int | float):
        hint = f"Write the name of the node in quotes: '{shown(target)}'."
    else:
        hint = "Write the name of one node."
    found.error(place, said, INVALID_VALUE, hint=hint)
    return False


def _wrong(value: JSONValue, member: Member) -> str | None:
    """What the value should be, when it is not."""
    kind = member.type
    if isinstance(kind, tuple):
        return None if value in kind else f"one of {', '.join(kind)}"
    if kind == "count":
        whole = isinstance(value, int) and not isinstance(value, bool)
        return None if whole and value >= member.least else f"a whole number from {member.least} on"
    if kind == "percent":
        return None if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100 else "a number from 0 to 100"
    if kind == "any":
        return None
    return None if _FITS[kind](value) else NOUNS[kind]


def _is_text(value: JSONValue) -> bool:
    return isinstance(value, str) and bool(value.strip())


_FITS: Mapping[str, Callable[[JSONValue], bool]] = {
    "text": _is_text,
    "script": _is_text,
    "object": lambda value: isinstance(value, dict),
    "flag": lambda value: isinstance(value, bool),
    "texts": lambda value: isinstance(value, list) and all(isinstance(part, str) for part in value),
    "version": lambda value: _is_text(value) or (isinstance(value, int | float) and not isinstance(value, bool)),
    "edges": _is_text,  # an object of them is looked at edge by edge
}
