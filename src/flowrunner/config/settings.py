"""Every setting: one table of what can be set and what it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

from flowrunner.config.readers import (
    read_account,
    read_boolean,
    read_choice,
    read_duration,
    read_path,
    read_programs,
    read_region,
    read_script_seconds,
    read_seconds,
    read_store,
    read_text,
    read_texts,
    read_url,
    read_whole,
)

DEFAULT_STORE = "sqlite:///.flowrunner/flowrunner.db"
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "text"]
LimitProfile = Literal["aws", "open"]
Registration = Literal["closed", "open"]
RequestRates = Literal["aws", "off"]


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
    request_rates: RequestRates = "off"
    requests_per_second: int = 0
    mock_config: Path | None = None
    function_workers: int = 16
    function_timeout_seconds: float = 900.0
    script_workers: int = 8
    script_timeout_seconds: float = 5.0
    script_memory_mebibytes: int = 64
    script_queue: int = 1000
    aws_endpoint_url: str | None = None
    http_allow: tuple[str, ...] = ()
    command_allow: tuple[str, ...] = ()
    command_folder: Path | None = None
    database_folder: Path | None = None
    allowed_origins: tuple[str, ...] = ()
    log_level: LogLevel = "info"
    log_format: LogFormat = "json"
    drain_seconds: float = 10.0
    lease_seconds: float = 10.0
    server: str | None = None
    master_key: str | None = field(default=None, repr=False)
    master_key_file: Path = Path(".flowrunner/master.key")
    previous_master_keys: tuple[str, ...] = field(default=(), repr=False)
    registration: Registration = "closed"
    jwt_secret: str | None = field(default=None, repr=False)
    token_expiration: float = 86400.0
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_public_key_file: Path | None = None
    jwt_jwks_file: Path | None = None
    jwt_account_claim: str | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    insecure: bool = False
    trusted_proxies: tuple[str, ...] = ()
    connections_per_address: int = 1000
    sockets_per_address: int = 1000
    sockets_per_account: int = 10_000
    socket_ping_seconds: float = 54.0
    socket_pong_seconds: float = 60.0
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 60.0
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
    secret: bool = False  # shown to nobody; may also be in a file that NAME_FILE names

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


SETTINGS = (
    Setting(name="host", read=read_text, help="The address to listen on.", environment=("FLOWRUNNER_HOST", "FLOWRUNNER_SERVER_HOST")),
    Setting(name="port", read=read_whole(0, 65535), help="The port to listen on; 0 takes a free one.", environment=("FLOWRUNNER_PORT", "FLOWRUNNER_SERVER_PORT")),
    Setting(name="store", read=read_store, help="Where everything is kept, a URL.", environment=("FLOWRUNNER_STORE", "FLOWRUNNER_DATABASE_URL"), is_path=True, secret=True),
    Setting(name="dev", read=read_boolean, help="Accept any credential, on loopback only."),
    Setting(name="region", read=read_region, help="The region in ARNs."),
    Setting(name="account", read=read_account, help="The id of the first account of a new store; with --dev, of callers who name none."),
    Setting(name="limits", read=read_choice(get_args(LimitProfile)), help="The limit profile: aws as Step Functions, open with larger sizes."),
    Setting(name="request_rates", read=read_choice(get_args(RequestRates)), help="How often an account may call: off, or aws, the buckets of Step Functions."),
    Setting(name="requests_per_second", read=read_whole(0, 1_000_000), help="Requests of an account, all operations; twice as many at once. 0: no limit."),
    Setting(name="mock_config", read=read_path, help="AWS's MockConfigFile.json with mocked service integrations.", is_path=True),
    Setting(name="function_workers", read=read_whole(1, 1024), help="How many registered functions run at once.", key="function_pool.workers"),
    Setting(name="function_timeout_seconds", read=read_seconds, unit="seconds", help="The longest a function may take.", key="function_pool.timeout_seconds"),
    Setting(name="script_workers", read=read_whole(1, 256), help="How many scripts of flows and workflows run at once; accounts share them fairly.", key="script_pool.workers"),
    Setting(name="script_timeout_seconds", read=read_script_seconds, unit="seconds", help="The longest a script may take, unless its node says otherwise.", key="script_pool.timeout_seconds"),
    Setting(name="script_memory_mebibytes", read=read_whole(1, 1024), unit="MiB", help="The most memory of one script.", key="script_pool.memory_mebibytes"),
    Setting(name="script_queue", read=read_whole(1, 100_000), help="How many scripts of one account may wait; one more fails with FlowRunner.ScriptBusy.", key="script_pool.queue"),
    Setting(name="aws_endpoint_url", read=read_url, help="Where unregistered AWS services are called.", key="aws.endpoint_url"),
    Setting(name="http_allow", read=read_texts, help="Private addresses (CIDR or host) that HTTP tasks may call; with --dev this machine is allowed.", key="http.allow"),
    Setting(name="command_allow", read=read_programs, help="Programs that nodes and steps may start, by name or absolute path. With --dev, unless it is set: echo."),
    Setting(name="command_folder", read=read_path, help="The folder within which they may choose where a program runs; without it each runs in a new, empty one.", is_path=True),
    Setting(name="database_folder", read=read_path, help="The folder with the SQLite files of nodes, one folder in it for each account; without it they have only :memory:.", is_path=True),
    Setting(name="allowed_origins", read=read_texts, help="Origins of pages that may open sockets, beside the server's own."),
    Setting(name="log_level", read=read_choice(get_args(LogLevel)), help="The least severe log entries to write.", key="log.level"),
    Setting(name="log_format", read=read_choice(get_args(LogFormat)), help="How log entries look.", key="log.format"),
    Setting(name="drain_seconds", read=read_seconds, unit="seconds", help="How long a stopping server waits for what is under way."),
    Setting(name="lease_seconds", read=read_seconds, unit="seconds", help="How long a silent server keeps its work before others on its store take over."),
    Setting(name="master_key", read=read_text, help="The key that seals all others: 32 bytes in base64 or hex.", environment=("FLOWRUNNER_MASTER_KEY", "FLOWRUNNER_ENCRYPTION_KEY"), secret=True),
    Setting(name="master_key_file", read=read_path, help="Where the master key is when it is not given. If it is set, the file must be there; otherwise it is made at the first start, beside an SQLite store.", environment=("FLOWRUNNER_MASTER_KEY_FILE",), is_path=True),
    Setting(name="previous_master_keys", read=read_texts, help="Older master keys, while a rotation goes on.", secret=True),
    Setting(name="registration", read=read_choice(get_args(Registration)), help="Who makes accounts: closed, only the operator; open, anybody."),
    Setting(name="jwt_secret", read=read_text, help="The key of log-in tokens, 32 characters or more; derived from the master key otherwise.", key="auth.jwt_secret", secret=True),
    Setting(name="token_expiration", read=read_duration, unit="seconds, or a duration such as 24h", help="How long a log-in is good.", key="auth.token_expiration"),
    Setting(name="jwt_issuer", read=read_text, help="A foreign issuer whose JWTs are taken.", key="auth.jwt_issuer"),
    Setting(name="jwt_audience", read=read_text, help="The audience that they must name.", key="auth.jwt_audience"),
    Setting(name="jwt_public_key_file", read=read_path, help="The issuer's RSA public key, PEM.", key="auth.jwt_public_key_file", is_path=True),
    Setting(name="jwt_jwks_file", read=read_path, help="Or the issuer's key set, JWKS.", key="auth.jwt_jwks_file", is_path=True),
    Setting(name="jwt_account_claim", read=read_text, help="The claim with the account id; account_id or tenant_id otherwise.", key="auth.jwt_account_claim"),
    Setting(name="tls_cert_file", read=read_path, help="The server's certificate chain, PEM.", key="server.tls.cert_file", is_path=True),
    Setting(name="tls_key_file", read=read_path, help="Its private key, PEM.", key="server.tls.key_file", is_path=True),
    Setting(name="insecure", read=read_boolean, help="Listen for the network without TLS: behind a proxy that has it."),
    Setting(name="trusted_proxies", read=read_texts, help="Addresses (CIDR) whose X-Forwarded-For is believed."),
    Setting(name="connections_per_address", read=read_whole(1, 1_000_000), help="Open connections from one address."),
    Setting(name="sockets_per_address", read=read_whole(1, 1_000_000), help="Open sockets and streams from one address."),
    Setting(name="sockets_per_account", read=read_whole(1, 1_000_000), help="Open sockets and streams of one account."),
    Setting(name="socket_ping_seconds", read=read_seconds, unit="seconds", help="How often a WebSocket is pinged."),
    Setting(name="socket_pong_seconds", read=read_seconds, unit="seconds", help="A WebSocket whose client has not answered for so long is closed."),
    Setting(name="header_seconds", read=read_seconds, unit="seconds", help="How long a request's headers may take."),
    Setting(name="body_seconds", read=read_seconds, unit="seconds", help="How long a body may take, and a second more for each 500 bytes that came."),
    Setting(name="idle_seconds", read=read_seconds, unit="seconds", help="How long a connection may be idle between requests."),
    Setting(name="server", read=read_url, help="The server that client commands talk to."),
)  # fmt: skip
ROWS = {row.file_key: row for row in SETTINGS} | {"server.host": SETTINGS[0], "server.port": SETTINGS[1], "database_url": SETTINGS[2]}

FUNCTION_KEYS = ("handler", "url", "idempotent", "timeout_seconds", "environment", "headers")
