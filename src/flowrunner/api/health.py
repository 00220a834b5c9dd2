"""Whether the process lives, whether it can serve, and what it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from flowrunner.api.accounts import answer
from flowrunner.api.contract import Contract
from flowrunner.api.identify import PUBLIC
from flowrunner.api.problems import Problem, Refused
from flowrunner.clock import Clock
from flowrunner.errors import StoreError
from flowrunner.ports.store import Store
from flowrunner.views.records import moment

CHECK_SECONDS = 5.0  # a store that takes longer to answer than a balancer waits is not ready

# Where the sources' clients ask; the operation of each.
PATHS = {"/": "healthOfRoot", "/health": "healthOfServer", "/api/v1/health": "healthOfV1", "/api/v2/health": "healthOfV2"}


class Health(msgspec.Struct):
    """That the process runs; `time` is its clock, RFC 3339 UTC."""

    status: str
    service: str
    time: str


def routes(*, store: Store, stopping: asyncio.Event, clock: Clock, metrics: Callable[[], bytes] | None) -> list[HTTPRouteHandler]:
    """The handlers of this module; `metrics` renders Prometheus's text format."""

    @get("/healthz", permission=PUBLIC, operation_id="health")
    async def health() -> dict[str, str]:
        """Answer that the process runs."""
        return {"status": "ok"}

    @get("/readyz", permission=PUBLIC, operation_id="ready")
    async def ready() -> dict[str, str]:
        """Answer 200 when the store can be written and the server is not stopping."""
        if stopping.is_set():
            raise Refused(Problem(status=503, code="draining", detail="The server is stopping."))
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await store.check()
        except (StoreError, TimeoutError):
            raise Refused(Problem(status=503, code="store_unavailable", detail="The store does not answer.", headers={"retry-after": "1"})) from None
        return {"status": "ready"}

    @get("/metrics", permission=PUBLIC, operation_id="metrics")
    async def show_metrics() -> Response[bytes]:
        """Show the metrics of this process; they hold no names of users' things."""
        body = b"" if metrics is None else metrics()
        return Response(body, media_type="text/plain; version=0.0.4")

    return [health, ready, show_metrics, *(_health(path, operation, clock) for path, operation in PATHS.items())]


def _health(path: str, operation: str, clock: Clock) -> HTTPRouteHandler:
    @get(path, permission=PUBLIC, operation_id=operation, contract=Contract(gives={200: Health}))
    async def told() -> Response[bytes]:
        """Answer that the process runs, with its name and its time, as the sources do."""
        return answer(Health("ok", "flowrunner", moment(clock.now())))

    return told
