"""The server without a network: problems, permissions, health and runs."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
import structlog
from litestar import get

from flowrunner.api.answer import AWAY
from flowrunner.api.app import create_app
from flowrunner.api.identify import DevAuthenticator, NoAccounts, check_bind, check_routes, host_of, is_loopback, origin_allowed
from flowrunner.clock import SystemClock
from flowrunner.engine.feed import Feed
from flowrunner.errors import ConfigurationError, StoreUnavailable
from flowrunner.ports.executions import Head, StepWrite
from flowrunner.ports.observe import NullObserver
from flowrunner.stores.memory.store import MemoryStore
from flowrunner.telemetry.metrics import Metrics
from flowrunner.testing.faultystore import Faults, faulty

ACCOUNT = "000000000000"


async def aws(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"aws"})


def app(store=None, **changes):
    store = store or MemoryStore()
    settings = {
        "store": store,
        "feed": Feed(store.executions, SystemClock()),
        "aws": aws,
        "authenticator": DevAuthenticator(ACCOUNT),
        "region": "us-east-1",
        "observer": NullObserver(),
        "stopping": asyncio.Event(),
        "clock": SystemClock(),
        "only_loopback_hosts": True,
    }
    return create_app(**{**settings, **changes})


def client(application):
    return httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://localhost:8080")


def head(number, **changes):
    values = {
        "id": f"{number:032x}",
        "account": ACCOUNT,
        "machine": "orders",
        "name": f"run-{number}",
        "revision": "r",
        "status": "SUCCEEDED",
        "input": '{"n":123456789012345678901234567890}',
        "seed": b"s" * 16,
        "started_at": 1_700_000_000_000 + number,
        "stopped_at": 1_700_000_001_000 + number,
        "output": "1",
    }
    return Head(**{**values, **changes})


async def store_of(*heads):
    store = MemoryStore()
    for one in heads:
        await store.executions.commit(StepWrite(head=one, create=True))
    return store


async def problem(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == code
    assert body["status"] == status
    assert body["trace_id"] == answer.headers["x-request-id"]
    return body


async def test_health_answers_without_a_credential():
    """Liveness, readiness and metrics need no credential."""
    async with client(app(authenticator=NoAccounts(), metrics=Metrics().render)) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert (await http.get("/readyz")).json() == {"status": "ready"}
        metrics = await http.get("/metrics")
        assert metrics.status_code == 200
        assert "flowrunner_executions_running 0.0" in metrics.text


@pytest.mark.parametrize("path", ["/", "/health", "/api/v1/health", "/api/v2/health"])
async def test_health_as_the_sources_ask_for_it(path):
    """Without a credential: `{status, time}` and `{status, service}` in one."""
    async with client(app(authenticator=NoAccounts())) as http:
        answer = await http.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        body = answer.json()
        assert (body["status"], body["service"]) == ("ok", "flowrunner")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["time"])
        await problem(await http.post("/health"), 405, "method_not_allowed")


async def test_stopping_server_is_not_ready():
    """A stopping server says so to its balancer."""
    stopping = asyncio.Event()
    stopping.set()
    async with client(app(stopping=stopping)) as http:
        await problem(await http.get("/readyz"), 503, "draining")


async def test_server_without_its_store_is_not_ready():
    """A store that does not answer makes the server unready, not broken."""

    class Away(MemoryStore):
        async def check(self):
            raise StoreUnavailable

    async with client(app(Away())) as http:
        await problem(await http.get("/readyz"), 503, "store_unavailable")
        assert (await http.get("/healthz")).status_code == 200


async def test_requests_while_the_store_is_away():
    """What is asked is told in the AWS endpoint's words and logged in one line, without a traceback or the store's own words in the answer."""
    store = MemoryStore()
    faults = Faults(rate=1, seed=1, kinds=("refused",))
    store.executions = faulty(store.executions, faults, SystemClock())
    async with client(app(store)) as http:
        with structlog.testing.capture_logs() as logged:
            answer = await http.get("/api/v2/workflows/runs")
    body = await problem(answer, 503, "store_unavailable")
    assert body["detail"] == AWAY
    assert answer.headers["retry-after"] == "1"
    assert [(entry["event"], entry["log_level"]) for entry in logged] == [("store_unavailable", "warning")]
    assert logged[0]["reason"].startswith("A planted fault")
    assert "exc_info" not in logged[0]


async def test_post_to_the_root_is_aws():
    """POST / goes to the AWS endpoint, other methods do not."""
    async with client(app()) as http:
        assert (await http.post("/")).text == "aws"
        assert (await http.get("/")).json()["status"] == "ok"
        await problem(await http.delete("/"), 405, "method_not_allowed")


async def test_unknown_caller_gets_401():
    """Without accounts every route that needs a permission refuses."""
    async with client(app(authenticator=NoAccounts())) as http:
        for path in ("/api/v2/workflows/runs", "/api/v2/workflows/runs/x", "/api/v2/workflows/runs/x/stream"):
            answer = await http.get(path)
            await problem(answer, 401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_unknown_path_and_wrong_method():
    """What is not there is 404, what cannot be done with it 405."""
    async with client(app()) as http:
        await problem(await http.get("/nothing/here"), 404, "not_found")
        answer = await http.post("/api/v2/workflows/runs")
        await problem(answer, 405, "method_not_allowed")
        assert "GET" in answer.headers["allow"]


async def test_request_id_is_taken_over_when_it_is_harmless():
    """A caller's X-Request-Id comes back, a strange one is replaced."""
    async with client(app()) as http:
        assert (await http.get("/healthz", headers={"x-request-id": "abc-1"})).headers["x-request-id"] == "abc-1"
        assert (await http.get("/healthz", headers={"x-request-id": "a b"})).headers["x-request-id"] != "a b"


async def test_foreign_host_is_refused_in_dev():
    """A page whose own name points here (DNS rebinding) gets nothing; the SDKs' sync- prefix is fine."""
    async with client(app()) as http:
        await problem(await http.get("/healthz", headers={"host": "evil.example"}), 403, "host_not_allowed")
        assert (await http.get("/healthz", headers={"host": "sync-localhost:8080"})).status_code == 200


async def test_foreign_origin_cannot_post():
    """A page of another origin cannot call the AWS endpoint."""
    async with client(app(allowed_origins=("https://ok.example",))) as http:
        body = await problem(await http.post("/", headers={"origin": "https://evil.example"}), 403, "origin_not_allowed")
        assert "https://ok.example" in body["detail"]
        assert (await http.post("/", headers={"origin": "https://ok.example"})).text == "aws"
        assert (await http.post("/", headers={"origin": "http://localhost:8080"})).text == "aws"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:5173", True),
        ("http://127.0.0.1:3000", True),
        ("http://[::1]:3000", True),
        ("https://app.localhost", True),
        ("null", False),
        ("file://", False),
        ("https://evil.example", False),
        ("http://localhost.evil.example", False),
        ("http://localhost@evil.example", False),
        ("http://localhost:1@evil.example", False),
        ("http://127.0.0.1.evil.example", False),
    ],
)
def test_sockets_of_pages_in_development(origin, allowed):
    """Where anybody is let in, a page that this machine serves may open a socket; but it cannot post, and without `local` it cannot either."""
    scope = {"headers": [(b"host", b"localhost:8080"), (b"origin", origin.encode())]}
    assert origin_allowed(scope, (), local=True) is allowed
    assert origin_allowed(scope, ()) is False


async def test_failure_is_an_answer():
    """Whatever breaks inside is a problem with a trace id, without its message."""

    async def broken(scope, receive, send):
        raise RuntimeError("secret detail")

    async with client(app(aws=broken)) as http:
        answer = await http.post("/")
        await problem(answer, 500, "internal_error")
        assert "secret" not in answer.text


async def test_run_is_described_with_its_numbers_whole():
    """A run is found by id, dashed id and ARN; big numbers stay as they are."""
    async with client(app(await store_of(head(1)))) as http:
        arn = "arn:aws:states:us-east-1:000000000000:execution:orders:run-1"
        for name in (f"{1:032x}", "00000000-0000-0000-0000-000000000001", arn, arn.replace(":", "%3A")):
            answer = await http.get(f"/api/v2/workflows/runs/{name}")
            assert answer.status_code == 200, answer.text
            run = answer.json()
            assert run["executionArn"] == arn
            assert run["runId"] == f"{1:032x}"
            assert run["status"] == "success"
            assert run["executionStatus"] == "SUCCEEDED"
            assert run["startTime"] == "2023-11-14T22:13:20.001Z"
            assert run["duration"] == 1000
            assert run["output"] == 1
            assert "123456789012345678901234567890" in answer.text


async def test_run_of_another_account_is_not_there():
    """Whose run it is does not leak."""
    async with client(app(await store_of(head(1, account="111111111111")))) as http:
        for name in (f"{1:032x}", "arn:aws:states:us-east-1:111111111111:execution:orders:run-1", "nonsense", "%00"):
            await problem(await http.get(f"/api/v2/workflows/runs/{name}"), 404, "not_found")
        mine = {"authorization": "AWS4-HMAC-SHA256 Credential=111111111111/20260101/us-east-1/states/aws4_request"}
        assert (await http.get(f"/api/v2/workflows/runs/{1:032x}", headers=mine)).status_code == 200


async def test_runs_are_paged_newest_first():
    """The cursor goes on where the page ended; status failed means both ways to fail."""
    statuses = ["SUCCEEDED", "FAILED", "TIMED_OUT", "RUNNING", "FAILED"]
    store = await store_of(*(head(number, status=status) for number, status in enumerate(statuses)))
    async with client(app(store)) as http:
        names, url = [], "/api/v2/workflows/runs?limit=2"
        while url:
            answer = await http.get(url)
            assert answer.status_code == 200
            names += [run["name"] for run in answer.json()["items"]]
            url = answer.links.get("next", {}).get("url")
            assert (url is None) == (answer.json()["next_cursor"] is None)
        assert names == ["run-4", "run-3", "run-2", "run-1", "run-0"]
        failed = (await http.get("/api/v2/workflows/runs?status=failed")).json()["items"]
        assert [run["name"] for run in failed] == ["run-4", "run-2", "run-1"]
        assert (await http.get("/api/v2/workflows/runs?workflow=other")).json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=\u0663", "status=odd", "cursor=", "cursor=AAAA", "cursor=%ff%ff", "cursor=!!!"])
async def test_bad_question_is_a_problem(query):
    """A question that makes no sense is a 400."""
    async with client(app()) as http:
        await problem(await http.get(f"/api/v2/workflows/runs?{query}"), 400, "bad_request")


async def test_cursor_of_another_question_is_refused():
    """A cursor goes on with its own filters only."""
    async with client(app(await store_of(head(1), head(2)))) as http:
        cursor = (await http.get("/api/v2/workflows/runs?limit=1")).json()["next_cursor"]
        await problem(await http.get(f"/api/v2/workflows/runs?limit=1&status=success&cursor={cursor}"), 400, "bad_request")


def test_route_without_a_permission_is_refused():
    """A route that says nothing about who may call it never gets to serve."""

    @get("/open")
    async def handler() -> None: ...

    with pytest.raises(TypeError) as caught:
        check_routes([("/open", handler.opt)])
    assert "/open" in str(caught.value)


def test_where_a_server_listens():
    """A server that lets everybody in is not on the network; another is, with TLS or on the operator's word."""
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        check_bind(host, dev=True)
    for host in ("0.0.0.0", "::", "192.168.1.1", "example.org"):
        check_bind(host, dev=False, tls=True)
        check_bind(host, dev=False, insecure=True)
        for settings, remedy in (({"dev": True, "tls": True, "insecure": True}, "127.0.0.1"), ({"dev": False}, "--insecure")):
            with pytest.raises(ConfigurationError) as caught:
                check_bind(host, **settings)
            assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("authority", "host"),
    [("localhost:1", "localhost"), ("[::1]:8080", "::1"), ("sync-127.0.0.1:1", "127.0.0.1"), ("LOCALHOST", "localhost"), ("a.b", "a.b")],
)
def test_host_of_authority(authority, host):
    """The host is read without port, brackets and the SDKs' prefix."""
    assert host_of(authority) == host
    assert is_loopback(host) == (host != "a.b")
