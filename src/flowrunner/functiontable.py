"""The functions that an operator registered, from settings to what runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flowrunner.config import Function as FunctionSetting
from flowrunner.config import Settings
from flowrunner.tasks.functions import Function, read_functions


def functions_of(settings: Settings) -> dict[str, Function]:
    """Registered functions, from the settings' absolute targets."""
    return read_functions({name: _function(function, settings) for name, function in settings.functions.items()}, Path.cwd())


def _function(function: FunctionSetting, settings: Settings) -> dict[str, Any]:
    timeout = function.timeout_seconds if function.timeout_seconds is not None else settings.function_timeout_seconds
    kind = "url" if function.target.startswith(("http://", "https://")) else "handler"
    return {
        kind: function.target,
        "idempotent": function.idempotent,
        "timeout_seconds": timeout,
        "environment": function.environment,
        "headers": function.headers,
    }
