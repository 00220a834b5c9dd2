"""Every single bit of signed requests is changed once: none of what comes out is taken."""

from __future__ import annotations

import asyncio

from awssigner import ACCESS_KEY, HOST, NOW_MS, Key, Keys, make_signed, signed

from flowrunner.api.aws.faults import AwsFault
from flowrunner.testing.clock import ManualClock

START = b'{"stateMachineArn":"arn:aws:states:us-east-1:111111111111:stateMachine:a","input":"{}"}'
HASH = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
REQUESTS = [
    ("StartExecution", START, {}),
    ("ListStateMachines", b"{}", {"headers": {"x-amz-content-sha256": HASH, "x-amz-more": "a b  c"}}),
    ("StartExecution", START, {"expires": 300}),
    ("ListStateMachines", b"{}", {"url": f"http://{HOST}/dev/%40connections/abc%3D?b=%2Fx+y&a=1"}),
    ("ListStateMachines", b"{}", {"token": "FwoGZXIvYXdzEXAMPLE//+=="}),
    ("DescribeExecution", START, {"token": "FwoGZXIvYXdzEXAMPLE//+==", "expires": 604_800}),
]
# Bytes that the signature does not cover, because nothing is made of them.
UNSIGNED = (b"user-agent", b"content-length")
LEAST = 20_000


def mutations(scope, body):
    """The request with one bit changed, for each bit of its path, query, body, and of the headers that count."""
    for key in ("raw_path", "query_string"):
        for altered in flips(scope[key]):
            yield {**scope, key: altered}, body
    for altered in flips(scope["method"].encode()):
        yield {**scope, "method": altered.decode("latin-1")}, body
    for altered in flips(body):
        yield scope, altered
    headers = scope["headers"]
    for index, (name, value) in enumerate(headers):
        if name in UNSIGNED:
            continue
        for pair in ((altered, value) for altered in flips(name)):
            yield {**scope, "headers": [*headers[:index], pair, *headers[index + 1 :]]}, body
        for pair in ((name, altered) for altered in flips(value)):
            yield {**scope, "headers": [*headers[:index], pair, *headers[index + 1 :]]}, body


def flips(text):
    for place, byte in enumerate(text):
        for bit in range(8):
            yield text[:place] + bytes([byte ^ 1 << bit]) + text[place + 1 :]


def is_taken(authenticator, scope, body):
    async def ask():
        headers = dict(scope["headers"])
        authenticator.admit(scope, headers)
        await authenticator.authenticate(scope, headers, body)

    step = ask()
    try:
        step.send(None)  # nothing in it waits
    except StopIteration:
        return True
    except AwsFault as fault:
        assert fault.aws_code != "ThrottlingException"
        assert fault.http_status in (400, 403)
        return False
    raise AssertionError("it waited")


def test_single_bits():
    """Of more than 20,000 requests that differ in one bit from a good one, none is taken."""
    tried = 0
    for target, body, settings in REQUESTS:
        keys = Keys({ACCESS_KEY: Key(session_token=settings.get("token"))})
        authenticator = make_signed(keys, ManualClock(NOW_MS))
        good = signed(target, body, **settings)
        assert is_taken(authenticator, dict(good), body)
        for scope, altered in mutations(good, body):
            tried += 1
            assert not is_taken(authenticator, dict(scope), altered), (target, scope, altered)
    assert tried >= LEAST


def test_requests_wait_for_nothing_but_the_key():
    """A large body is hashed beside the event loop; the answer is the same."""
    large = b" " * 2_000_000 + b"{}"

    async def ask(body):
        scope = signed(body=large)
        headers = dict(scope["headers"])
        authenticator = make_signed()
        authenticator.admit(scope, headers)
        return await authenticator.authenticate(scope, headers, body)

    assert asyncio.run(ask(large)).account == "111111111111"
    try:
        asyncio.run(ask(large[1:]))
    except AwsFault as fault:
        assert fault.aws_code == "InvalidSignatureException"
    else:
        raise AssertionError("another body was taken")
