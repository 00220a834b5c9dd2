"""Settings: one table of what can be set, and where each value is looked for.

Precedence: flags, ``FLOWRUNNER_*`` environment, ``.env`` in the working folder, ``flowrunner.toml`` (or ``[tool.flowrunner]``
in ``pyproject.toml``), defaults. Relative paths in a file are relative to that file. Unknown keys in a file are errors.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from flowrunner.errors import ConfigurationError

DEFAULT_STORE = "sqlite:///.flowrunner/flowrunner.db"
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "text"]
LimitProfile = Literal["aws", "open"]
RequestRates = Literal["auto", "aws", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A registered function: `target` is ``/absolute/file.py:function`` or an ``http(s)`` URL.

    `idempotent` lets an attempt whose outcome is unknown simply run again. `timeout_seconds` bounds one attempt.
    `environment` is added to what a Python function finds in its environment, `headers` to the requests to a URL.
    """

    target: str
    idempotent: bool = False
    timeout_seconds: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set; `SETTINGS` says what each part means. `origins` tells where a value came from."""

    host: str = "127.0.0.1"
    port: int = 8080
    store: str = field(default=DEFAULT_STORE, repr=False)
    dev: bool = False
    region: str = "us-east-1"
    account: str = "000000000000"
    limits: LimitProfile = "aws"
    request_rates: RequestRates = "auto"
    requests_per_second: int = 0
    mock_config: Path | None = None
    function_workers: int = 16
    function_timeout_seconds: float = 900.0
    aws_endpoint_url: str | None = None
    http_allow: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    log_level: LogLevel = "info"
    log_format: LogFormat = "json"
    drain_seconds: float = 10.0
    lease_seconds: float = 10.0
    server: str | None = None
    functions: Mapping[str, Function] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row: `name` is the field of Settings, `key` its place in a file, `environment` its variables, best first."""

    name: str
    read: Callable[[object], object]
    help: str
    key: str = ""
    unit: str = ""
    environment: tuple[str, ...] = ()
    is_path: bool = False

    @property
    def file_key(self) -> str:
        """The key in a file, sections separated by dots."""
        return self.key or self.name

    @property
    def default(self) -> object:
        """The value when nothing else is said."""
        return next(part.default for part in fields(Settings) if part.name == self.name)

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables, best first."""
        return self.environment or (f"FLOWRUNNER_{self.name.upper()}",)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text that is not empty")
    return value


def _whole(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        digits = str(value)
        if isinstance(value, bool) or re.fullmatch(r"[0-9]{1,9}", digits) is None or not low <= int(digits) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(digits)

    return read


def _seconds(value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
    except ValueError:
        number = -1.0
    if not 0 < number < 1e9:
        raise ValueError("must be a number of seconds above 0")
    return number


def _boolean(value: object) -> bool:
    word = str(value).strip().lower()
    if word not in {"true", "1", "yes", "on", "false", "0", "no", "off"}:
        raise ValueError("must be true or false")
    return word in {"true", "1", "yes", "on"}


def _choice(choices: tuple[str, ...]) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return str(value)

    return read


def _texts(value: object) -> tuple[str, ...]:
    parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) and part for part in parts):
        raise ValueError("must be a list of texts")
    return tuple(parts)


def _account(value: object) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[0-9]{12}", value) is None:
        raise ValueError("must be a text of 12 digits")
    return value


def _region(value: object) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[a-z0-9-]{1,32}", value) is None:
        raise ValueError("must be a region name such as us-east-1")
    return value


def _url(value: object) -> str:
    if not isinstance(value, str) or not re.match(r"https?://[^/\s]", value):
        raise ValueError("must be an http:// or https:// URL")
    return value


def _store(value: object) -> str:
    if not isinstance(value, str) or not re.match(r"(memory:|sqlite:|postgres(ql)?:|dynamodb:)", value):
        raise ValueError("must be a store URL: sqlite:///PATH, memory:, postgresql://... or dynamodb://...")
    return value


def _path(value: object) -> Path:
    return Path(_text(value))


SETTINGS = (
    Setting(name="host", read=_text, help="The address to listen on.", environment=("FLOWRUNNER_HOST", "FLOWRUNNER_SERVER_HOST")),
    Setting(name="port", read=_whole(0, 65535), help="The port to listen on; 0 takes a free one.", environment=("FLOWRUNNER_PORT", "FLOWRUNNER_SERVER_PORT")),
    Setting(name="store", read=_store, help="Where everything is kept, a URL.", environment=("FLOWRUNNER_STORE", "FLOWRUNNER_DATABASE_URL"), is_path=True),
    Setting(name="dev", read=_boolean, help="Accept any credential, on loopback only."),
    Setting(name="region", read=_region, help="The region in ARNs."),
    Setting(name="account", read=_account, help="The account id in ARNs while there are no accounts."),
    Setting(name="limits", read=_choice(get_args(LimitProfile)), help="The limit profile: aws as Step Functions, open with larger sizes."),
    Setting(name="request_rates", read=_choice(get_args(RequestRates)), help="Rates of AWS operations: aws, off, or auto: as the profile says, none with dev."),
    Setting(name="requests_per_second", read=_whole(0, 1_000_000), help="Requests of an account, all operations; twice as many at once. 0: no limit."),
    Setting(name="mock_config", read=_path, help="AWS's MockConfigFile.json with mocked service integrations.", is_path=True),
    Setting(name="function_workers", read=_whole(1, 1024), help="How many registered functions run at once.", key="function_pool.workers"),
    Setting(name="function_timeout_seconds", read=_seconds, unit="seconds", help="The longest a function may take.", key="function_pool.timeout_seconds"),
    Setting(name="aws_endpoint_url", read=_url, help="Where unregistered AWS services are called.", key="aws.endpoint_url"),
    Setting(name="http_allow", read=_texts, help="Private addresses (CIDR or host) that HTTP tasks may call.", key="http.allow"),
    Setting(name="allowed_origins", read=_texts, help="Origins of pages that may open sockets, beside the server's own."),
    Setting(name="log_level", read=_choice(get_args(LogLevel)), help="The least severe log entries to write.", key="log.level"),
    Setting(name="log_format", read=_choice(get_args(LogFormat)), help="How log entries look.", key="log.format"),
    Setting(name="drain_seconds", read=_seconds, unit="seconds", help="How long a stopping server waits for what is under way."),
    Setting(name="lease_seconds", read=_seconds, unit="seconds", help="How long a silent server keeps its work before others on its store take over."),
    Setting(name="server", read=_url, help="The server that client commands talk to."),
)  # fmt: skip
_ROWS = {row.file_key: row for row in SETTINGS} | {"server.host": SETTINGS[0], "server.port": SETTINGS[1], "database_url": SETTINGS[2]}
_FUNCTION_KEYS = ("handler", "url", "idempotent", "timeout_seconds", "environment", "headers")


def load(
    *, flags: Mapping[str, object] | None = None, config: Path | None = None, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Settings:
    """Read the settings from every source. A flag of None is not set. Raises ConfigurationError, naming place and remedy."""
    here = Path.cwd() if folder is None else folder
    variables = os.environ if environment is None else environment
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    named = str(config) if config is not None else variables.get("FLOWRUNNER_CONFIG")
    for name, value, origin in _from_file(here, Path(named) if named else None):
        values[name], origins[name] = value, origin
    for source, place in ((_dotenv(here / ".env"), ".env"), (variables, "environment")):
        for name, value, variable in _from_variables(source):
            values[name], origins[name] = value, f"{place} {variable}"
    rows = {row.name: row for row in SETTINGS}
    for name, value in (flags or {}).items():
        if value is not None:
            values[name], origins[name] = _checked(rows[name], value, f"--{name.replace('_', '-')}"), "flag"
    return Settings(**values, origins=origins)  # type: ignore[arg-type]  # each value went through its row's reader


def _checked(row: Setting, value: object, where: str) -> object:
    try:
        return row.read(value)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {row.file_key} {error}.") from None


# --- files


def _from_file(folder: Path, named: Path | None) -> Iterator[tuple[str, object, str]]:
    path, table = _table(folder, named)
    if path is None:
        return
    base = path.resolve().parent
    for key, value in _flat(table):
        if key == "functions":
            yield "functions", _functions(value, base, path), str(path)
            continue
        row = _ROWS.get(key)
        if row is None:
            raise ConfigurationError(f"{path}: there is no setting {key!r}.", remedy=_did_you_mean(key, [*_ROWS, "functions"]))
        read = _checked(row, value, str(path))
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


def _did_you_mean(key: str, known: list[str]) -> str:
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
        if key not in _FUNCTION_KEYS:
            raise ConfigurationError(f"{where}: there is no setting {key!r}.", remedy=_did_you_mean(key, list(_FUNCTION_KEYS)))
    target = parts.get("url", parts.get("handler"))
    idempotent, timeout = parts.get("idempotent", False), parts.get("timeout_seconds")
    if not isinstance(target, str) or not isinstance(idempotent, bool) or ("url" in parts and "handler" in parts):
        raise ConfigurationError(f'{where} must be "FILE.py:FUNCTION", a URL, or a table with handler or url, idempotent and timeout_seconds.')
    try:
        seconds = None if timeout is None else _seconds(timeout)
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


# --- variables


def _dotenv(path: Path) -> Mapping[str, str]:
    """``NAME=value`` lines; ``export``, quotes and comments as shells have them, nothing is expanded."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from None
    found: dict[str, str] = {}
    for line in lines:
        match = re.fullmatch(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^#]*?))\s*(?:#.*)?", line)
        if match:
            name, *values = match.groups()
            found[name] = next((value for value in values if value is not None), "")
    return found


def _from_variables(source: Mapping[str, str]) -> Iterator[tuple[str, object, str]]:
    composed = _composed_store(source)
    if composed is not None:
        yield "store", _store(composed), "FLOWRUNNER_STORAGE_TYPE"
    for row in SETTINGS:
        for variable in row.variables:
            value = source.get(variable, "")
            # A Kubernetes service called "flowrunner" sets FLOWRUNNER_PORT=tcp://10.0.0.1:8080 in every pod beside it.
            if value and not (row.name == "port" and value.startswith("tcp://")):
                yield row.name, _checked(row, value, variable), variable
                break


def _composed_store(source: Mapping[str, str]) -> str | None:
    """The store URL that the source documents' separate variables mean."""
    kind = source.get("FLOWRUNNER_STORAGE_TYPE", "").lower()

    def part(name: str, default: str = "") -> str:
        return source.get(name, "") or default

    match kind:
        case "":
            return None
        case "memory":
            return "memory:"
        case "sqlite":
            return DEFAULT_STORE
        case "postgres" | "postgresql":
            secret = part("FLOWRUNNER_POSTGRES_PASSWORD")
            user = quote(part("FLOWRUNNER_POSTGRES_USER", "flowrunner"), safe="") + (f":{quote(secret, safe='')}" if secret else "")
            place = f"{part('FLOWRUNNER_POSTGRES_HOST', 'localhost')}:{part('FLOWRUNNER_POSTGRES_PORT', '5432')}"
            database, mode = quote(part("FLOWRUNNER_POSTGRES_DATABASE", "flowrunner"), safe=""), part("FLOWRUNNER_POSTGRES_SSL_MODE")
            return f"postgresql://{user}@{place}/{database}" + (f"?sslmode={quote(mode)}" if mode else "")
        case "dynamodb":
            query = {"endpoint": part("FLOWRUNNER_DYNAMODB_ENDPOINT"), "prefix": part("FLOWRUNNER_DYNAMODB_TABLE_PREFIX", "flowrunner_")}
            region = part("FLOWRUNNER_DYNAMODB_REGION", "us-west-2")
            return f"dynamodb://{region}?{urlencode({name: value for name, value in query.items() if value})}"
        case _:
            raise ConfigurationError(f"FLOWRUNNER_STORAGE_TYPE: {kind!r} must be one of memory, sqlite, postgres, dynamodb.")


def redacted(url: str) -> str:
    """A store URL without its password, for people and logs."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))
