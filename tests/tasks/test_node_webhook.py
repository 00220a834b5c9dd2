from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from aiohttp import web

from flowrunner.ports.tasks import Succeeded

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()


@pytest.fixture
def post(node, server):
    async def poster(params=None, **more):
        return await node("webhook", {"url": f"{server.url}/hook"} | (params or {}), **more)

    return poster


def verified(headers, body, key):
    """As a receiver checks it."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


@pytest.mark.parametrize(("secret", "key"), [(SECRET, b"0123456789abcdef01234567"), ("plain text", b"plain text")])
async def test_events_are_signed(post, server, secret, key):
    """A receiver can prove where the event is from, and that nobody changed it."""
    outcome = await post({"payload": {"a": 1}, "secret": secret, "event": "order.paid", "headers": {"X-Mine": "1"}})
    output = json.loads(outcome.output)["output"]
    method, path, headers, body = server.requests[0]
    assert (method, path, headers["X-Mine"], headers["Content-Type"]) == ("POST", "/hook", "1", "application/json")
    assert verified(headers, body, key)
    assert not verified(headers, body + b" ", key)
    event = json.loads(body)
    assert (event["type"], event["data"], event["execution_id"], event["node_id"]) == ("order.paid", {"a": 1}, "e1", "State")
    assert event["timestamp"].endswith("Z")
    assert output == {"status": "sent", "status_code": 200, "id": headers["webhook-id"], "signed": True}
    assert secret not in outcome.output


async def test_the_id_is_the_attempts_own(post, server):
    """The same attempt has the same id, another one another; it does not show the key."""
    for key in ("e1/1", "e1/1", "e1/2"):
        await post(changes={"key": key})
    first, again, other = (request[2]["webhook-id"] for request in server.requests)
    assert first == again != other
    assert first == "msg_" + hashlib.sha256(b"e1/1").hexdigest()[:32]


async def test_the_input_is_the_payload_when_none_is_named(post, server):
    """And nothing is signed without a secret."""
    outcome = await post(input={"n": 1})
    assert json.loads(server.requests[0][3])["data"] == {"n": 1}
    assert "webhook-signature" not in server.requests[0][2]
    assert json.loads(outcome.output)["output"]["signed"] is False


@pytest.mark.parametrize("status", [301, 400, 410, 500])
async def test_a_refusal_fails_the_node(post, server, status):
    """So that its retry tries again; redirects are not followed."""
    server.answer = lambda request: web.Response(status=status, text="no thanks", headers={"Location": "/other"})
    outcome = await post()
    assert (outcome.error, len(server.requests)) == ("FlowRunner.WebhookRefused", 1)
    assert f"{status}" in outcome.cause
    assert "no thanks" in outcome.cause


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"url": "http://10.0.0.1/"}, "FlowRunner.EgressRefused"),
        ({"url": 7}, "FlowRunner.InvalidParameters"),
        ({"secret": "whsec_%"}, "FlowRunner.InvalidParameters"),
    ],
)
async def test_failures(post, server, params, error):
    """Typed, and nothing is sent."""
    outcome = await post(params)
    assert not isinstance(outcome, Succeeded)
    assert (outcome.error, server.requests) == (error, [])


async def test_an_event_with_an_id_of_its_own(post, server):
    """Every try has it, and the payload may be the whole body."""
    for key in ("e1/1", "e1/2"):
        await post({"payload": {"a": 1}, "id": "evt-1", "whole": True}, changes={"key": key})
    assert [(request[2]["webhook-id"], request[3]) for request in server.requests] == [("evt-1", b'{"a":1}')] * 2


@pytest.mark.parametrize("name", ["a b", "a\r\nx: y", "a" * 256])
async def test_ids_that_cannot_be(post, server, name):
    """What is no id is refused before anything is sent."""
    outcome = await post({"id": name})
    assert (outcome.error, server.requests) == ("FlowRunner.InvalidParameters", [])
