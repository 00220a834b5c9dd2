"""How a test case came out: passed, failed, error or skipped."""

from __future__ import annotations

from dataclasses import dataclass

from flowrunner.core.program import Template
from flowrunner.jsonvalue import JSONValue
from flowrunner.lang.environment import Environment
from flowrunner.workflow.templates import states_of

STATUSES = ("passed", "failed", "error", "skipped")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The status in the result of a test case; ``error`` where there is none."""

    result: Template

    def evaluate(self, environment: Environment) -> JSONValue:
        """One of STATUSES."""
        result = self.result.evaluate(environment)
        status = result.get("status") if isinstance(result, dict) else None
        return status if status in STATUSES else "error"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a step fails whose test case did not pass."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """A sentence."""
        result = states_of(environment).get("input")
        told = result if isinstance(result, dict) else {}
        error = told.get("error")
        cause = error.get("cause") if isinstance(error, dict) else None
        said = f"The test case '{told.get('testId', '')}' ended as {told.get('status', 'error')}"
        return f"{said}: {cause}" if cause else f"{said}."


@dataclass(frozen=True, slots=True)
class Only:
    """What the only branch of a graph gave."""

    def evaluate(self, environment: Environment) -> JSONValue:
        """Its output."""
        result = states_of(environment)["result"]
        return result[0]
