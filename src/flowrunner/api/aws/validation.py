"""ValidateStateMachineDefinition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowrunner.api.aws.service import Answer, Request, Service
    from flowrunner.core.diagnostics import Diagnostic
    from flowrunner.identity.principal import Principal

MOST_DIAGNOSTICS = 100


async def validate_state_machine_definition(service: Service, caller: Principal, request: Request) -> Answer:
    """FAIL if there is an error; warnings are listed when the severity asked for is WARNING."""
    del caller
    parsed = await service.read_definition(request["definition"], request.get("type") or "STANDARD")
    warnings = request.get("severity") == "WARNING"
    found = [diagnostic for diagnostic in parsed.diagnostics if warnings or diagnostic.severity == "ERROR"]
    limit = request.get("maxResults") or MOST_DIAGNOSTICS
    return {
        "result": "OK" if parsed.program is not None else "FAIL",
        "diagnostics": [_shown(diagnostic) for diagnostic in found[:limit]],
        "truncated": len(found) > limit,
    }


def _shown(diagnostic: Diagnostic) -> dict[str, Any]:
    shown = {"severity": diagnostic.severity, "code": diagnostic.code, "message": diagnostic.message}
    if diagnostic.pointer:
        shown["location"] = diagnostic.pointer
    return shown
