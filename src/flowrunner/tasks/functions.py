"""Registered functions: what ``[functions]`` of the configuration says, and the names by which Lambda calls them.

A function is ``NAME = "FILE.py:HANDLER"`` (relative to the configuration file's folder, or absolute), ``NAME = "https://..."``,
or a table ``{handler = "..." | url = "...", idempotent = true, timeout_seconds = 30, environment = {...}, headers = {...}}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowrunner.errors import ConfigurationError

# https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html, FunctionName
_REFERENCE = re.compile(
    r"(?:arn:(?P<partition>[\w-]+):lambda:)?(?:(?P<region>[a-z]{2,}(?:-[a-z]+)+-\d):)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[A-Za-z0-9_.-]{1,170})(?::(?P<qualifier>\$LATEST|[A-Za-z0-9_-]{1,128}))?",
    re.ASCII,
)
_ARN = re.compile(r"arn:[^:]+:lambda:[^:]*:[^:]*:function:(?P<name>[^:]+)(?::(?P<qualifier>[^:]+))?")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,140}", re.ASCII)
_KEYS = {"handler", "url", "idempotent", "timeout_seconds", "environment", "headers"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One registered function: `handler` in `file`, or `url`.

    `idempotent` allows an attempt of unknown outcome to run again under the same key. `timeout_seconds` bounds one, None
    is the installation's. `environment` is added to the worker's environment, `headers` to the requests to `url`.
    """

    name: str
    file: Path | None = None
    handler: str = ""
    url: str = ""
    idempotent: bool = False
    timeout_seconds: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FunctionName:
    """A function as a call names it; `region`, `account` and `qualifier` where given."""

    name: str
    qualifier: str | None = None
    region: str | None = None
    account: str | None = None


def parse_function_name(text: str) -> FunctionName | None:
    """Read a name, a partial ARN (``123456789012:function:NAME``) or a full ARN, each with an optional qualifier; None if it is none."""
    match = _REFERENCE.fullmatch(text)
    if match is not None:
        return FunctionName(match["name"], match["qualifier"], match["region"], match["account"])
    match = _ARN.fullmatch(text)
    return None if match is None else FunctionName(match["name"], match["qualifier"])


def read_functions(table: Mapping[str, Any], folder: Path) -> dict[str, Function]:
    """The functions of a configuration; `folder` is the configuration file's. Raises ConfigurationError naming the place."""
    return {name: _function(name, value, folder) for name, value in table.items()}


def _function(name: str, value: Any, folder: Path) -> Function:
    place = f"functions.{name}"
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{place}: a function's name is letters, digits, '-', '_' and '.', without ARN or qualifier.")
    table = value if isinstance(value, Mapping) else {"handler": value}
    unknown = set(table) - _KEYS
    if unknown:
        raise ConfigurationError(f"{place}: unknown key {min(unknown)!r}.", remedy=f"Known keys: {', '.join(sorted(_KEYS))}.")
    target = table.get("url", table.get("handler"))
    if not isinstance(target, str) or ("url" in table and "handler" in table):
        raise ConfigurationError(f"{place}: name one target.", remedy='Write "FILE.py:HANDLER" or "https://...".')
    options: dict[str, Any] = {
        "idempotent": _checked(place, table, "idempotent", bool, default=False),
        "timeout_seconds": _timeout(place, table.get("timeout_seconds")),
        "environment": _texts(place, table, "environment"),
        "headers": _texts(place, table, "headers"),
    }
    if target.startswith(("http://", "https://")):
        return Function(name=name, url=target, **options)
    path, colon, handler = target.rpartition(":")
    if not colon or not path.endswith(".py") or not all(part.isidentifier() for part in handler.split(".")):
        raise ConfigurationError(f"{place}: {target!r} is no function.", remedy='Write "FILE.py:HANDLER" or "https://...".')
    # The file may come later, and it may change: function_files.py says at the start what is wrong with it then.
    return Function(name=name, file=(folder / path).resolve(), handler=handler, **options)


def _checked(place: str, table: Mapping[str, Any], key: str, kind: type, *, default: Any) -> Any:
    value = table.get(key, default)
    if not isinstance(value, kind):
        raise ConfigurationError(f"{place}.{key}: {value!r} is no {kind.__name__}.")
    return value


def _timeout(place: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ConfigurationError(f"{place}.timeout_seconds: {value!r} is no positive number of seconds.")
    return float(value)


def _texts(place: str, table: Mapping[str, Any], key: str) -> dict[str, str]:
    value = _checked(place, table, key, Mapping, default={})
    for name, text in value.items():
        if not isinstance(text, str) or "\0" in text:
            raise ConfigurationError(f"{place}.{key}.{name}: {text!r} is no text.")
    return dict(value)
