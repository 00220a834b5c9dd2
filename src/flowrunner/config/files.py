"""Settings in ``flowrunner.toml``, or ``[tool.flowrunner]`` in ``pyproject.toml``. A key that nobody knows is an error."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flowrunner.config.readers import read_seconds
from flowrunner.config.settings import FUNCTION_KEYS, ROWS, Function, Setting
from flowrunner.errors import ConfigurationError


def checked(row: Setting, value: object, where: str) -> object:
    """A value as its row reads it; raises ConfigurationError, naming the place, never a secret."""
    try:
        return row.read(value)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {row.file_key} {error}.") from None


def from_file(folder: Path, named: Path | None) -> Iterator[tuple[str, object, str]]:
    """The settings of the configuration file: name, value, where. Raises ConfigurationError."""
    path, table = _table(folder, named)
    if path is None:
        return
    base = path.resolve().parent
    for key, value in _flat(table):
        if key == "functions":
            yield "functions", _functions(value, base, path), str(path)
            continue
        row = ROWS.get(key)
        if row is None:
            raise ConfigurationError(f"{path}: there is no setting {key!r}.", remedy=did_you_mean(key, [*ROWS, "functions"]))
        read = checked(row, value, str(path))
        yield row.name, _anchored(read, base) if row.is_path else read, str(path)


def _table(folder: Path, named: Path | None) -> tuple[Path | None, Mapping[str, object]]:
    if named is not None:
        path = folder / named
        return path, _section(path, tool=path.name == "pyproject.toml")
    if (path := folder / "flowrunner.toml").is_file():
        return path, _section(path, tool=False)
    if (path := folder / "pyproject.toml").is_file() and (table := _section(path, tool=True)):
        return path, table
    return None, {}


def _section(path: Path, *, tool: bool) -> Mapping[str, object]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"There is no configuration file {path}.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from None
    if not tool:
        return document
    tools = document.get("tool")
    table = tools.get("flowrunner") if isinstance(tools, dict) else None
    return table if isinstance(table, dict) else {}


def _flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict) and f"{prefix}{key}" != "functions":
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def did_you_mean(key: str, known: list[str]) -> str:
    """The remedy for a name that nobody knows."""
    close = difflib.get_close_matches(key, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known are: {', '.join(sorted(known))}."


def _anchored(value: object, base: Path) -> object:
    """The same path or sqlite URL, relative to `base`."""
    if isinstance(value, Path):
        return base / value
    text = str(value)
    if text.startswith("sqlite:///") and not text.startswith("sqlite:////"):
        return f"sqlite:///{base / text.removeprefix('sqlite:///')}"
    return text


def _functions(table: object, base: Path, path: Path) -> Mapping[str, Function]:
    if not isinstance(table, dict):
        raise ConfigurationError(f'{path}: functions must be a table of NAME = "FILE.py:FUNCTION" or a URL.')
    return {name: _function(name, given, base, path) for name, given in table.items()}


def _function(name: str, given: object, base: Path, path: Path) -> Function:
    where = f"{path}: functions.{name}"
    parts: Mapping[str, Any] = given if isinstance(given, dict) else {"handler": given}
    for key in parts:
        if key not in FUNCTION_KEYS:
            raise ConfigurationError(f"{where}: there is no setting {key!r}.", remedy=did_you_mean(key, list(FUNCTION_KEYS)))
    target = parts.get("url", parts.get("handler"))
    idempotent, timeout = parts.get("idempotent", False), parts.get("timeout_seconds")
    if not isinstance(target, str) or not isinstance(idempotent, bool) or ("url" in parts and "handler" in parts):
        raise ConfigurationError(f'{where} must be "FILE.py:FUNCTION", a URL, or a table with handler or url, idempotent and timeout_seconds.')
    try:
        seconds = None if timeout is None else read_seconds(timeout)
    except ValueError as error:
        raise ConfigurationError(f"{where}: timeout_seconds {error}.") from None
    if not re.match(r"https?://", target):
        file, colon, function = target.rpartition(":")
        if not colon or not file or not function.isidentifier():
            raise ConfigurationError(f'{where}: {target!r} must be "FILE.py:FUNCTION" or an http(s) URL.')
        target = f"{base / file}:{function}"
    texts = {key: parts.get(key, {}) for key in ("environment", "headers")}
    for key, table in texts.items():
        if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
            raise ConfigurationError(f"{where}: {key} must be a table of texts.")
    return Function(target=target, idempotent=idempotent, timeout_seconds=seconds, **texts)
