"""Secret references in the parameters of a Task: their places, and warnings where they will not be resolved."""

from __future__ import annotations

import re

from flowrunner.asl.expressions import Scope
from flowrunner.jsonvalue import JSONObject
from flowrunner.lang.dynamic import SecretPlace, is_whole, secret_places, texts_of

SECRET_NOT_RESOLVED = "SECRET_NOT_RESOLVED"  # noqa: S105 - the code of a finding
_KEPT = re.compile(r"arn:[\w-]+:states:[\w-]*:[\w-]*:(?:activity:|states:startExecution|aws-sdk:sfn:)")


def secrets_of(scope: Scope, fields: JSONObject, resource: str) -> tuple[SecretPlace, ...]:
    """The places of references in ``Parameters`` or ``Arguments``."""
    name = "Parameters" if "Parameters" in fields else "Arguments"
    value = fields.get(name)
    for place, text, literal in texts_of(value):
        at = (*scope.place, name, *place)
        if not literal:
            scope.found.warning(at, "A secret reference within an expression is not resolved; write it as a text of its own", SECRET_NOT_RESOLVED)
        elif not is_whole(text):
            scope.found.warning(at, "Only {{resolve:secretsmanager:NAME:SecretString:FIELD}} is resolved; this stays as it is", SECRET_NOT_RESOLVED)
        elif _KEPT.match(resource):
            scope.found.warning(at, f"What {resource} is given is kept in a history; a secret is not resolved for it", SECRET_NOT_RESOLVED)
    return secret_places(value)
