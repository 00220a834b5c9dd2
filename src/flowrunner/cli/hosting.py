"""The server process: one event loop for the application and uvicorn, and a stop that hands everything over."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import uvicorn

from flowrunner.api.identify import check_bind, is_loopback
from flowrunner.cli.door import Door
from flowrunner.cli.heartbeat import Heartbeat
from flowrunner.cli.protocol import Server, configuration
from flowrunner.config import Settings
from flowrunner.engine.points import VARIABLE, Point, no_point, point_of
from flowrunner.errors import ConfigurationError
from flowrunner.telemetry import logs
from flowrunner.wiring import Application, build

MAPPED_BYTES = 512 * 1024  # memory of this size and more is mapped on its own, and unmapped when it is freed; with 64 KiB each step did so twice
_M_MMAP_THRESHOLD = -3  # malloc.h


async def host(settings: Settings, announce: Callable[[Application, str], None], beside: Callable[[Application], Awaitable[None]] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then stop accepting, let the engine hand over, and return.

    `announce` is called once the server accepts, with its URL; `beside` runs along and is cancelled at the end. Where it fails, the server
    stops in good order, and its error is raised.
    """
    secure, heartbeat = tls_context(settings), Heartbeat.of(settings)
    check_bind(settings.host, dev=settings.dev, tls=secure is not None, insecure=settings.insecure)
    logs.configure(settings.log_level, settings.log_format)
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(_listener(settings.host, settings.port)))
        application = build(settings, point=_crash_at(settings))
        await application.start(stack)
        server = Server(
            configuration(
                application.asgi, drain_seconds=settings.drain_seconds, tls=secure, door=Door.of(settings, application.metrics.on_refused), heartbeat=heartbeat
            )
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, _stop, application, server, number)  # the second one does not wait
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await _accepting(server, serving)
            _settle_memory()
            announce(application, _url(listener, secure=secure is not None))
            companions = [beside(application)] if beside is not None else []
            tasks = {stack.enter_context(_cancelled(asyncio.create_task(_forever(work)))) for work in (application.stopping.wait(), *companions)}
            await asyncio.wait({serving, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            # The port stays open while what runs may finish: readiness says so, and workers can still answer.
            application.stopping.set()
            ended = [task for task in tasks if task.done()]
            drained = stack.enter_context(_cancelled(asyncio.create_task(application.engine.drain())))
            await asyncio.wait({serving, drained}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            await serving
        finally:
            application.stopping.set()
    if application.failure is not None:
        raise application.failure
    for task in ended:
        task.result()


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS 1.2 and newer with the certificate of the settings; None without one. Raises ConfigurationError."""
    certificate, key = settings.tls_cert_file, settings.tls_key_file
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigurationError("TLS needs both cert_file and key_file under [server.tls] (FLOWRUNNER_TLS_CERT_FILE, FLOWRUNNER_TLS_KEY_FILE).")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for file in (certificate, key):
        if not file.is_file():
            raise ConfigurationError(f"There is no file {file}, which the settings name for TLS.")
    try:
        context.load_cert_chain(certificate, key, password="")  # never asked for on a terminal
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"The certificate {certificate} and the key {key} cannot be used: {getattr(error, 'reason', None) or error}.",
            remedy="Both are PEM; the key belongs to the first certificate and is not encrypted.",
        ) from None
    return context


def _crash_at(settings: Settings) -> Point:
    point = point_of(os.environ)
    if point is not no_point and not is_loopback(settings.host):
        raise ConfigurationError(f"{VARIABLE} is set, and the server would listen on {settings.host}.", remedy="Crash tests run on loopback only.")
    return point


def _settle_memory() -> None:
    """Keep the collector off what is there to stay: a full collection over the modules' 90,000 objects stops the loop for 50 ms.

    Under load that was 15 % of the time and most of the 99th percentile; steps leave hardly any cycles behind.
    What bodies took goes back to the system: glibc would raise the size from which it does so with each one that is freed, and a
    flood of bodies that hold 32 MB together left 240 MB behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    with contextlib.suppress(AttributeError):  # other C libraries have no such knob
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)


def _stop(application: Application, server: uvicorn.Server, number: int) -> None:
    if application.stopping.is_set():
        application.engine.hurry()
        server.handle_exit(number, None)
    application.stopping.set()


async def _accepting(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    if serving.done():
        serving.result()  # what is wrong is said before anything is announced


async def _forever(work: Awaitable[object]) -> None:
    await work


@contextlib.contextmanager
def _cancelled(task: asyncio.Task[None]) -> Iterator[asyncio.Task[None]]:
    try:
        yield task
    finally:
        task.cancel()


def _listener(host: str, port: int) -> socket.socket:
    """A bound socket; uvicorn listens on it once the application has started."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(f"{host} is no address to listen on: {error.strerror or error}.") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"{host} port {port} cannot be used: {error.strerror or error}.", remedy="Take another --port; 0 takes a free one.") from None
    listener.setblocking(False)  # noqa: FBT003  # the socket's own way to say it
    return listener


def _url(listener: socket.socket, *, secure: bool) -> str:
    host, port = listener.getsockname()[:2]
    return f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
