"""``{{secrets.NAME.FIELD}}`` in a definition: a reference that is resolved inside the task, never a value of the machine's."""

from __future__ import annotations

import re

from flowrunner.jsonvalue import JSONValue
from flowrunner.lang.dynamic import SecretPlace, secret_places
from flowrunner.reading.findings import Findings, Place

MIXED = "SECRET_IN_EXPRESSION"
NOT_READ = "SECRET_NOT_READ"
_SECRET = re.compile(r"\{\{\s*secrets\.(?P<name>[A-Za-z0-9_/+=@-]+)(?:\.(?P<path>[A-Za-z0-9_.-]+))?\s*\}\}")
_MENTION = re.compile(r"\{\{[^{}]*\bsecrets\b[^{}]*\}\}")
_LEFT = re.compile(r"\{\{[^{}]*?(?<![\w.$-])(?P<name>secrets\.\w[\w.-]*)")
_OTHER = re.compile(r"\{\{(?!resolve:)")


def with_references(found: Findings, value: JSONValue, place: Place) -> JSONValue:
    """The value with references as the tasks know them; says where a secret is used in a way that nothing could resolve."""
    if isinstance(value, dict):
        return {key: with_references(found, part, (*place, key)) for key, part in value.items()}
    if isinstance(value, list):
        return [with_references(found, part, (*place, index)) for index, part in enumerate(value)]
    if not isinstance(value, str) or "secrets" not in value:
        return value
    text = _SECRET.sub(_reference, value)
    if text == value:
        if _MENTION.search(value):
            found.error(place, "A secret is named as {{secrets.NAME}} or {{secrets.NAME.field}}, without operators around it.", MIXED)
    elif _OTHER.search(text):
        found.error(place, "A text with a secret has no other expressions: put them into another member, or into a variable.", MIXED)
    return text


def warn_unread(found: Findings, value: JSONValue, place: Place) -> None:
    """Say where a secret is named that no task will resolve: the expression leads nowhere there."""
    if isinstance(value, dict):
        for key, part in value.items():
            warn_unread(found, part, (*place, key))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            warn_unread(found, part, (*place, index))
    elif isinstance(value, str) and (left := _LEFT.search(value)) is not None:
        said = f"'{left['name']}' leads nowhere here: secrets are known to the config of steps that work outside, and to what a request asserts."
        found.warning(place, said, NOT_READ)


def _reference(match: re.Match[str]) -> str:
    path = f":{match['path']}" if match["path"] else ""
    return f"{{{{resolve:secretsmanager:{match['name']}:SecretString{path}}}}}"


def places_in(config: JSONValue) -> tuple[SecretPlace, ...]:
    """Where a task's parameters have references, for a config that becomes their ``params``."""
    return tuple((("params", *place), text) for place, text in secret_places(config))
