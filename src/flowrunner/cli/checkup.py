"""What ``flowrunner doctor`` looks at. Each check tells what it found; whatever it meets, none raises."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import ssl
import stat
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from cryptography import x509

from flowrunner import __version__
from flowrunner.api.identify import check_bind
from flowrunner.cli.dbstore import reading, upkeep_of
from flowrunner.cli.door import Door
from flowrunner.cli.heartbeat import Heartbeat
from flowrunner.cli.hosting import tls_context
from flowrunner.clock import Clock
from flowrunner.config import Settings, redacted
from flowrunner.errors import FlowRunnerError, StoreRefused
from flowrunner.ports.store import Store
from flowrunner.stores.open import open_store
from flowrunner.vault.keyring import Keyring
from flowrunner.vault.keys import KeySource
from flowrunner.wiring import build, key_source

Verdict = Literal["ok", "warn", "fail"]
MIB = 1024 * 1024
LEAST_FREE_BYTES, FEW_FREE_BYTES = 100 * MIB, 1024 * MIB
FSYNCS, SLOW_FSYNC_MILLISECONDS = 9, 50.0
LEAST_FILES, FEW_FILES = 256, 4096
EARLIEST = datetime(2026, 11, 1, tzinfo=UTC)  # no clock of this release is before it
FUTURE_SECONDS = 300  # how far a file may be ahead of the clock
CERTIFICATE_DAYS = 14
PROBE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def failed(check: str, error: FlowRunnerError, verdict: Verdict = "fail") -> Finding:
    """A finding from one of our own errors."""
    return Finding(check, verdict, error.message, error.remedy or "")


async def findings(settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    """Everything that is looked at, in order."""
    yield versions()
    for name, check in (("configuration", configuration), ("tls", certificate), ("keys", keys), ("port", port)):
        yield _guarded(name, check, settings)
    async for one in _store(settings, clock):
        yield one
    yield _guarded("clock", clock_of, settings, clock)
    for one in disk(folder_of(settings)):
        yield one
    yield files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _guarded(name: str, check: Callable[..., Finding], *arguments: object) -> Finding:
    try:
        return check(*arguments)
    except FlowRunnerError as error:
        return failed(name, error)
    except OSError as error:
        return Finding(name, "fail", f"{error.filename or 'A file'} cannot be read: {error.strerror or error}.", "Give FlowRunner the right to read it.")


def versions() -> Finding:
    """What runs here."""
    return Finding("versions", "ok", f"FlowRunner {__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}")


def configuration(settings: Settings) -> Finding:
    """Whether a server would start with these settings. Raises what the server would."""
    check_bind(settings.host, dev=settings.dev, tls=settings.tls_cert_file is not None, insecure=settings.insecure)
    Door.of(settings)
    Heartbeat.of(settings)
    logins = build(replace(settings, store="memory:")).identity.logins  # the store has a check of its own
    if settings.jwt_secret is not None:
        logins.use(settings.jwt_secret.encode())
    sources = sorted({origin.split(" ")[0] for origin in settings.origins.values()})
    told = f"{len(settings.origins)} settings from {', '.join(sources)}" if sources else "all settings are the defaults"
    if settings.dev:
        return Finding("configuration", "warn", f"{told}; dev accepts any credential.", "Leave dev out where others can log in to this machine.")
    return Finding("configuration", "ok", f"{told}.")


def certificate(settings: Settings) -> Finding:
    """Whether the certificate and its key can be used, and for how long."""
    if tls_context(settings) is None or settings.tls_cert_file is None or settings.tls_key_file is None:
        return Finding("tls", "ok", "none is set: this machine only, or a proxy has it.")
    until = x509.load_pem_x509_certificate(settings.tls_cert_file.read_bytes()).not_valid_after_utc
    days = (until - datetime.now(UTC)).days
    if days < CERTIFICATE_DAYS:
        told = "has expired" if days < 0 else f"expires in {days} days"
        return Finding("tls", "fail" if days < 0 else "warn", f"{settings.tls_cert_file} {told} ({until:%Y-%m-%d}).", "Renew it, then start the server again.")
    mode = settings.tls_key_file.stat().st_mode
    if mode & 0o007:
        remedy = f"Run: chmod 600 {settings.tls_key_file}"
        return Finding("tls", "warn", f"{settings.tls_key_file} can be read by everybody (mode {stat.S_IMODE(mode):04o}).", remedy)
    return Finding("tls", "ok", f"{settings.tls_cert_file} is good until {until:%Y-%m-%d}.")


def keys(settings: Settings) -> Finding:
    """Whether the master key is there, and only for us."""
    source = key_source(settings)
    found = source.load()
    if found is not None:
        older = f" and {len(found.older)} older" if found.older else ""
        return Finding("keys", "ok", f"The master key {found.current.id}{older} is in {source.place}.")
    if settings.store.startswith("memory:"):
        return Finding("keys", "ok", "A store in memory has a key of its own.")
    return Finding("keys", "ok", f"There is none yet; the first start makes it in {source.place}.")


def port(settings: Settings) -> Finding:
    """Whether the port can be listened on, or FlowRunner does so already."""
    where = f"{settings.host} port {settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
    except OSError as error:
        if _is_ours(settings):
            return Finding("port", "ok", f"{where}: a FlowRunner server answers there.")
        return Finding("port", "fail", f"{where} cannot be used: {error.strerror or error}.", "Take another port, or stop what has it: ss -ltnp")
    return Finding("port", "ok", f"{where} is free.")


def _is_ours(settings: Settings) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  # compared, not listened on
    try:
        with socket.create_connection((host, settings.port), timeout=PROBE_SECONDS) as plain, _wrapped(plain, settings) as probe:
            probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = probe.recv(4096)
    except OSError:
        return False
    return answer.startswith(b"HTTP/1.1 200") and b"x-request-id:" in answer


def _wrapped(plain: socket.socket, settings: Settings) -> socket.socket:
    """The connection as a client of these settings has it: in TLS where they have a certificate, whoever it is from: nothing is told to it."""
    if settings.tls_cert_file is None:
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain)


async def _store(settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    url, shown = settings.store, redacted(settings.store)
    if url.startswith("memory:"):
        yield Finding("store", "warn", "memory: is gone with the server.", "Name another: --store sqlite:///PATH")
        return
    try:
        schema = await upkeep_of(url).schema()
        if not schema.is_current:
            remedy = "A server of this version brings it up to date when it starts, and so does: flowrunner db upgrade"
            yield Finding("store", "warn", f"{shown} has schema {schema.revision}, this release works with {schema.latest}.", remedy)
            return
        yield await _written(settings, clock, shown, schema.revision)
        for told, remedy in await upkeep_of(url).cautions():
            yield Finding("role", "warn", told, remedy)
        async with reading(url) as store:
            yield await _keyring(store, key_source(settings), clock)
    except FlowRunnerError as error:
        missing = isinstance(error, StoreRefused) and (error.remedy or "").startswith("A server makes it")
        yield _not_made(settings, shown, error) if missing else failed("store", error)


def _not_made(settings: Settings, shown: str, error: FlowRunnerError) -> Finding:
    """Nothing is there yet: good, if the first start can make it."""
    folder = folder_of(settings)
    if settings.store.startswith("sqlite:"):
        file = _file(settings.store)
        if not file.parent.is_dir() and file.parent != Path(".flowrunner"):
            return Finding("store", "fail", f"There is no folder {file.parent} for {file.name}.", "Create it first.")
        if not os.access(folder, os.W_OK | os.X_OK):
            return Finding("store", "fail", f"The folder {folder} cannot be written.", "Give FlowRunner the right to write it.")
    return Finding("store", "ok", f"{shown} is not there yet; the first start makes it. ({error.message})")


async def _written(settings: Settings, clock: Clock, shown: str, revision: str) -> Finding:
    """Whether the store can be written: tried where several servers may be on it; a file has one, and there the rights are looked at."""
    good = f"{shown} answers, schema {revision}, and can be written."
    if settings.store.startswith("sqlite:"):
        file = _file(settings.store)
        for path in (file, file.resolve().parent):
            if not os.access(path, os.W_OK):
                return Finding("store", "fail", f"{path} is read-only.", "Give FlowRunner the right to write the file and its folder.")
        return Finding("store", "ok", good)
    from contextlib import AsyncExitStack  # noqa: PLC0415  # only here

    async with AsyncExitStack() as stack:
        store = open_store(settings.store, clock=clock)
        await store.start(stack)
        await store.check()
    return Finding("store", "ok", good)


async def _keyring(store: Store, source: KeySource, clock: Clock) -> Finding:
    """Whether the keys here are those that the store is sealed with."""
    try:
        state = await Keyring(store.documents, source, clock).state()
    except StoreRefused:
        return Finding("vault", "ok", "Nothing is sealed in the store yet.")
    found = source.load()
    for used in state.ring.keys:
        known = None if found is None else found.find(used.id)
        if known is None or known.check() != used.check:
            return Finding(
                "vault",
                "fail",
                f"The store is sealed under the master key {used.id}, which is not in {source.place}.",
                "Restore it from a backup, or copy it from the server that made it. Without it no secret can be read.",
            )
    return Finding("vault", "ok", f"The store is sealed under {', '.join(one.id for one in state.ring.keys)}, and the key is here.")


def clock_of(settings: Settings, clock: Clock) -> Finding:
    """Whether the time can be true: timers and tokens live by it."""
    now = datetime.fromtimestamp(clock.now() / 1000, UTC)
    remedy = "Set the clock, and keep it set: chrony, systemd-timesyncd or ntpd."
    if now < EARLIEST:
        return Finding("clock", "fail", f"It says {now:%Y-%m-%d %H:%M:%S} UTC, which is before this release was made.", remedy)
    if settings.store.startswith("sqlite:") and (file := _file(settings.store)).exists():
        ahead = file.stat().st_mtime - now.timestamp()
        if ahead > FUTURE_SECONDS:
            return Finding("clock", "fail", f"The store was last written {ahead:.0f} seconds in the future: the clock has gone back.", remedy)
    return Finding("clock", "ok", f"It says {now:%Y-%m-%d %H:%M:%S} UTC.")


def disk(folder: Path) -> Iterator[Finding]:
    """Whether there is room, and how long a write takes to be durable."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield Finding("disk", "fail", f"{folder} cannot be looked at: {error.strerror or error}.", "Create it, or give FlowRunner the right to use it.")
        return
    told = f"{free / MIB:,.0f} MiB are free in {folder}."
    verdict: Verdict = "fail" if free < LEAST_FREE_BYTES else "warn" if free < FEW_FREE_BYTES else "ok"
    yield Finding("disk", verdict, told, "" if verdict == "ok" else "Make room: flowrunner db prune, or a larger disk.")
    try:
        took = _fsync(folder)
    except OSError as error:
        yield Finding("fsync", "fail", f"{folder} cannot be written: {error.strerror or error}.", "Give FlowRunner the right to write it.")
        return
    slow = took > SLOW_FSYNC_MILLISECONDS
    remedy = "Each step waits for it. Use a local SSD, not a network file system."
    yield Finding("fsync", "warn" if slow else "ok", f"A durable write takes {took:.1f} ms in {folder}.", remedy if slow else "")


def _fsync(folder: Path) -> float:
    """The median time of a small durable write, in milliseconds."""
    path = folder / f".flowrunner-doctor.{os.getpid()}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        times = []
        for _ in range(FSYNCS):
            begun = time.perf_counter()
            os.write(descriptor, b"\0" * 4096)
            os.fsync(descriptor)
            times.append((time.perf_counter() - begun) * 1000)
        return statistics.median(times)
    finally:
        os.close(descriptor)
        path.unlink()


def files(soft: int) -> Finding:
    """How many connections and files may be open."""
    if soft == resource.RLIM_INFINITY or soft >= FEW_FILES:
        return Finding("files", "ok", "Any number of files may be open." if soft == resource.RLIM_INFINITY else f"{soft} files and connections may be open.")
    remedy = "Raise it: ulimit -n 65536, or LimitNOFILE=65536 in the unit of systemd."
    return Finding("files", "fail" if soft < LEAST_FILES else "warn", f"Only {soft} files and connections may be open.", remedy)


def folder_of(settings: Settings) -> Path:
    """Where the server writes: the folder of its SQLite file, else the working folder; the nearest one that is there."""
    folder = _file(settings.store).parent if settings.store.startswith("sqlite:") else Path()
    folder = folder.resolve()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def _file(url: str) -> Path:
    return Path(unquote(urlsplit(url).path.removeprefix("/")))
