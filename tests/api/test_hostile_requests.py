"""Requests that no client of good will sends, to every operation: whatever is answered, the OpenAPI document has it."""

import asyncio
import re
import socket
import time
from collections import Counter

import pytest
import requests
from apicampaign import Things, served
from structlog.testing import capture_logs

AT_ONCE = 16
BODY_SECONDS = 0.3
HUGE = 2 * 1024 * 1024
GOOD_HOST = ("Host", "localhost")


class Sent:
    """What is sent after the request line: `headers`, then `parts` of a body; `query` and `path` change the line."""

    def __init__(self, *headers, parts=(), query="", path=None, host=GOOD_HOST):
        self.headers, self.parts, self.query, self.path, self.host = headers, parts, query, path, host


def body(content, *headers):
    return Sent(("Content-Type", "application/json"), *headers, ("Content-Length", str(len(content))), parts=(content,))


def chunks():
    return Sent(("Content-Type", "application/json"), ("Transfer-Encoding", "chunked"), parts=(*[b"10000\r\n" + b" " * 0x10000 + b"\r\n"] * 32, b"0\r\n\r\n"))


HOSTILE = {
    "a body that is announced too large": Sent(("Content-Length", str(HUGE))),
    "a body that becomes too large": chunks(),
    "a body that never comes": Sent(("Content-Length", "10"), parts=(b"{",)),
    "a compressed body": body(b"{}", ("Content-Encoding", "gzip")),
    "no JSON": body(b"{"),
    "no UTF-8": body(b'{"a": "\xff"}'),
    "a name twice": body(b'{"a": 1, "a": 2}'),
    "a list": body(b"[]"),
    "a number": body(b"1e999"),
    "deep": body(b"[" * 5000 + b"]" * 5000),
    "unknown members": body(b'{"surely nobody knows this": 1}'),
    "another type": Sent(("Content-Type", "application/xml"), ("Content-Length", "4"), parts=(b"<a/>",)),
    "a form": Sent(("Content-Type", "multipart/form-data; boundary=x"), ("Content-Length", "5"), parts=(b"--x--",)),
    "a type that is none": Sent(("Content-Type", "\x80/;;"), ("Content-Length", "2"), parts=(b"{}",)),
    "two lengths": Sent(("Content-Length", "2"), ("Content-Length", "3"), parts=(b"{}",)),
    "a length and chunks": Sent(("Content-Length", "2"), ("Transfer-Encoding", "chunked"), parts=(b"{}",)),
    "many headers": Sent(*[(f"X-{number}", "x") for number in range(500)]),
    "a long header": Sent(("X-Long", "x" * 200_000)),
    "no host": Sent(host=None),
    "another host": Sent(host=("Host", "evil.example")),
    "two hosts": Sent(GOOD_HOST),
    "another origin": Sent(("Origin", "https://evil.example")),
    "a credential that is none": Sent(("Authorization", "Bearer \x80")),
    "a log-in that is none": Sent(("Authorization", "Basic x")),
    "a tag that is none": Sent(("If-Match", "x")),
    "a tag that is another": body(b"{}", ("If-Match", '"999"')),
    "a key that is none": Sent(("Idempotency-Key", "two words")),
    "a key that is too long": Sent(("Idempotency-Key", "x" * 300)),
    "a key": body(b"{}", ("Idempotency-Key", "hostile")),
    "the key again": body(b'{"other": 1}', ("Idempotency-Key", "hostile")),
    "strange pages": Sent(query="limit=-1&cursor=%ff&offset=x&after=x&page=0&history=x&wait=x"),
    "large numbers": Sent(query="limit=1000000000000000000000&offset=99999999999999999999999&after=99999999999999999999"),
    "a query that is none": Sent(query="%&&=&%ff=%00"),
    "a nul in the path": Sent(path="%00"),
    "a slash in the path": Sent(path="a%2F..%2Fb"),
    "no UTF-8 in the path": Sent(path="%ff%fe"),
    "a long path": Sent(path="x" * 5000),
    "points in the path": Sent(path=".."),
    "a number in the path": Sent(path="999999999999999999999"),
    "an expectation": Sent(("Expect", "100-continue"), ("Content-Length", str(HUGE))),
    "a client that wants nothing": Sent(("Accept", "x/y;q=0")),
}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with served(tmp_path_factory.mktemp("served"), body_seconds=BODY_SECONDS, idle_seconds=5) as url:
        yield url


async def status_of(url, method, path, sent):
    """The status that the server answers; None when it closes without a word, which is a client's own fault only for what is no HTTP."""
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    headers = [*([] if sent.host is None else [sent.host]), *sent.headers, ("Connection", "close")]
    head = f"{method} {path}{'?' if sent.query else ''}{sent.query} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
    try:
        writer.write(head.encode("latin-1"))
        for part in sent.parts:
            writer.write(part)
        while (line := await reader.readline()).startswith(b"HTTP/1.1 100"):
            await reader.readline()
        return int(line.split()[1]) if line else None
    except ConnectionError:
        return None
    finally:
        writer.transport.abort()


@pytest.fixture(scope="module")
def session():
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture(scope="module")
def document(url, session):
    return session.get(f"{url}/openapi.json").json()


@pytest.fixture(scope="module")
def known(url, session):
    return Things(url, session).known


@pytest.mark.timeout(180)
async def test_whatever_is_sent(url, document, known):
    """Every operation with everything of the list: an answer, never a 5xx but for 503, and none that the document does not have."""
    room, seen, wrong = asyncio.Semaphore(AT_ONCE), Counter(), []

    async def one(method, path, operation, name, sent):
        filled = re.sub(r"\{(\w+)\}", lambda part: sent.path or known.get(part[1], "none"), path)
        async with room:
            status = await status_of(url, method.upper(), filled, sent)
        seen[status] += 1
        if str(status) not in operation["responses"]:
            wrong.append(f"{status} for {name}: {method.upper()} {path}")

    operations = [(method, path, operation) for path, methods in document["paths"].items() for method, operation in methods.items()]
    with capture_logs() as logs:
        await asyncio.gather(
            *(one(*operation, name, sent) for operation in operations for name, sent in HOSTILE.items() if sent.path is None or "{" in operation[1])
        )
    assert not wrong, f"{len(wrong)} of {sum(seen.values())}:\n" + "\n".join(sorted(wrong)[:80])
    assert not [entry for entry in logs if entry["log_level"] == "error"]  # nothing of this is the server's fault
    assert {400, 403, 404, 408, 413, 415, 431} <= set(seen)
    assert sum(seen.values()) > 3000


def test_a_body_that_nobody_wants(url, known):
    """It may come after the headers, as HTTP clients send it: the connection stays good for the next request."""
    address = url.removeprefix("http://").partition(":")
    with socket.create_connection((address[0], int(address[2]))) as connection, connection.makefile("rb") as answers:
        for _ in range(20):
            connection.sendall(f"POST /api/v2/environments/{known['environment']}/activate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n".encode())
            time.sleep(0.002)  # so that an answer that did not wait would be out
            connection.sendall(b"{}")
            assert answers.readline().split()[1] in (b"200", b"404")
            length = 0
            while (line := answers.readline()) != b"\r\n":
                length = int(line.split()[1]) if line.lower().startswith(b"content-length:") else length
            answers.read(length)
