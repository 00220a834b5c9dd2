from __future__ import annotations

import asyncio
import email
import email.policy
import socket

import pytest
from mail_servers import PASSWORD, USER, Inbox, certified, smtp_server
from nodes_calls import Secrets, node_call

from flowrunner.clock import SystemClock
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.nodes.emailsend import EmailSend
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.nodes.reach import Reach

MAIL = {"smtp_host": "127.0.0.1", "from": "Flow <flow@example.org>", "to": "ada@example.org", "subject": "Grüße", "body": "Hello\n.\nthere"}


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
async def serving(inbox):
    """A function that starts a server with these options and gives its port."""
    started = []

    async def serve(**options):
        started.append(await smtp_server(inbox, **options))
        return started[-1].sockets[0].getsockname()[1]

    yield serve
    for server in started:
        server.close()


@pytest.fixture
def send():
    kind = EmailSend(reach=Reach(EgressPolicy(["127.0.0.1", "localhost"])), secrets=Secrets(mail={"username": USER, "password": PASSWORD}), clock=SystemClock())

    async def sender(key="e1/1", **params):
        return (await kind.run(node_call(MAIL | params, key=key))).output

    return sender


def read(envelope):
    return email.message_from_bytes(envelope.content, policy=email.policy.default)


async def test_a_mail(send, serving, inbox):
    """Text, HTML and files arrive; copies are listed, blind copies are not; what was refused is told."""
    port = await serving(auth_require_tls=False)
    files = [{"filename": "ä.csv", "content": "a,b", "content_type": "text/csv"}, {"filename": "b", "content_base64": "AP8="}]
    output = await send(
        smtp_port=port, cc=["Bob <bob@example.org>"], bcc="eve@example.org, nobody@example.org", html="<p>Hello</p>", attachments=files, headers={"X-Tag": "1"}
    )
    assert output["accepted"] == ["ada@example.org", "bob@example.org", "eve@example.org"]
    assert output["refused"] == {"nobody@example.org": "550 no such user"}
    (envelope,) = inbox.mails
    message = read(envelope)
    assert (envelope.mail_from, envelope.rcpt_tos) == ("flow@example.org", output["accepted"])
    assert [message[name] for name in ("Subject", "From", "To", "Cc", "Bcc", "X-Tag")] == [
        "Grüße",
        "Flow <flow@example.org>",
        "ada@example.org",
        "Bob <bob@example.org>",
        None,
        "1",
    ]
    assert message["Message-ID"] == output["message_id"]
    assert message.get_body(("plain",)).get_content().splitlines() == ["Hello", ".", "there"]
    assert message.get_body(("html",)).get_content().strip() == "<p>Hello</p>"
    assert [(part.get_filename(), part.get_payload(decode=True)) for part in message.iter_attachments()] == [("ä.csv", b"a,b"), ("b", b"\0\xff")]


async def test_a_repeated_attempt_has_the_same_message_id(send, serving):
    """The Message-ID is made of the idempotency key."""
    port = await serving()
    first, again, other = [(await send(smtp_port=port, key=key))["message_id"] for key in ("e1/1", "e1/1", "e1/2")]
    assert first == again != other


@pytest.mark.parametrize("security", ["starttls", "auto", "tls"])
async def test_tls(send, serving, inbox, tmp_path, security):
    """The server's name is proved although the connection goes to its address; the password goes over TLS."""
    context, trusted = certified(tmp_path)
    if security == "tls":
        port = await serving(context=context, auth_require_tls=False)
    else:
        port = await serving(tls_context=context, require_starttls=True)
    output = await send(smtp_host="localhost", smtp_port=port, security=security, secret="mail", tls_ca=trusted)
    assert output["accepted"] == ["ada@example.org"]
    with pytest.raises(NodeFailed) as caught:
        await send(smtp_host="localhost", smtp_port=port, security=security)
    assert caught.value.error == "FlowRunner.MailUnreachable"
    with pytest.raises(NodeFailed, match="not proved"):
        await send(smtp_host="127.0.0.1", smtp_port=port, security=security, tls_ca=trusted)
    assert len(inbox.mails) == 1


async def test_refusals(send, serving):
    """Log-ins and receivers that the server refuses are failures of their own; what it defers may be tried again."""
    port = await serving(auth_require_tls=False)
    for params, error in (
        ({"username": "ada", "password": "wrong"}, "FlowRunner.MailRefused"),
        ({"to": "nobody@example.org"}, "FlowRunner.MailRefused"),
        ({"to": "later@example.org"}, "FlowRunner.MailDeferred"),
        ({"security": "starttls"}, "FlowRunner.MailRefused"),
    ):
        with pytest.raises(NodeFailed) as caught:
            await send(smtp_port=port, **params)
        assert caught.value.error == error


@pytest.mark.parametrize(
    "params",
    [
        {"subject": "a\r\nBcc: eve@example.org"}, {"to": "ada@example.org\nBcc: eve@example.org"}, {"from": "a@b.org\r\nX: y"}, {"headers": {"X-A": "1\n\nbody"}},
        {"headers": {"X-A: b\r\nBcc": "eve@example.org"}}, {"headers": {"Bcc": "eve@example.org"}}, {"headers": {"Content-Type": "text/html"}}, {"to": []},
        {"to": "not an address"}, {"from": "a@b.org, c@d.org"}, {"attachments": [{"filename": "a\nb", "content": ""}]}, {"to": "a\u2028b@c.org"},
        {"attachments": [{"filename": "a", "content_base64": "?"}]}, {"attachments": [{"filename": "a", "content_type": "text/html\r\nX: y", "content": ""}]},
        {"username": "a\r\nRSET"}, {"smtp_port": 0}, {"security": "perhaps"},
    ],
)  # fmt: skip
async def test_injected_headers(send, serving, inbox, params):
    """No parameter adds a header, a receiver or a command."""
    with pytest.raises(NodeFailed) as caught:
        await send(**{"smtp_port": await serving()} | params)
    assert caught.value.error == "FlowRunner.InvalidParameters"
    assert not inbox.mails


async def test_only_allowed_servers(send):
    """Addresses and ports are checked before anything is connected to; nobody there is a failure of its own."""
    strict = EmailSend(reach=Reach(EgressPolicy()), secrets=Secrets(), clock=SystemClock())
    for place in ({"smtp_host": "127.0.0.1"}, {"smtp_host": "localhost"}, {"smtp_host": "8.8.8.8", "smtp_port": 22}, {"smtp_host": "0x7f.1"}):
        with pytest.raises(NodeFailed) as caught:
            await strict.run(node_call(MAIL | place))
        assert caught.value.error == "FlowRunner.EgressRefused"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(NodeFailed) as caught:
            await send(smtp_port=unused.getsockname()[1])
    assert caught.value.error == "FlowRunner.MailUnreachable"


async def test_a_silent_server(send):
    """A server that says nothing costs the attempt its time limit, and a cancelled attempt nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(TimeoutError):
            await send(smtp_port=port, timeout="100ms")
        task = asyncio.create_task(send(smtp_port=port))
        accepted = [await asyncio.to_thread(silent.accept) for _ in range(2)]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for one, _ in accepted:
            one.close()
