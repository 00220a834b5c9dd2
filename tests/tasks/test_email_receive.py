from __future__ import annotations

from email.message import EmailMessage

import pytest
from mail_servers import PASSWORD, USER, ImapServer, certified
from nodes_calls import Secrets, node_call

from flowrunner.ports.secrets import NoSecrets
from flowrunner.tasks.egress import EgressPolicy
from flowrunner.tasks.nodes.emailreceive import EmailReceive
from flowrunner.tasks.nodes.kind import NodeFailed
from flowrunner.tasks.nodes.mailread import read_mail
from flowrunner.tasks.nodes.reach import Reach


def mail(number, *, subject="Hello", sender="Bob <bob@example.org>", html=None):
    made = EmailMessage()
    made["From"], made["To"], made["Subject"], made["Message-ID"] = sender, "ada@example.org", subject, f"<{number}@example.org>"
    made["Date"] = "Sat, 21 Nov 2026 10:00:00 +0100"
    made.set_content(f"This is   mail {number}.\nWith ü.\n")
    if html is not None:
        made.add_alternative(html, subtype="html")
    made.add_attachment(b"\0\xff", maintype="application", subtype="octet-stream", filename="ä.bin")
    return [made.as_bytes().replace(b"\n", b"\r\n"), set()]


@pytest.fixture
def mails():
    return [mail(1), mail(2, subject="Invoice Größe", html="<p>Two</p>"), mail(3, subject='Say "hi" \\', sender="carol@example.org")]


@pytest.fixture
def receive():
    kind = EmailReceive(reach=Reach(EgressPolicy(["127.0.0.1", "localhost"])), secrets=Secrets(mail={"username": USER, "password": PASSWORD}))

    async def receiver(server, **params):
        given = {"imap_host": "127.0.0.1", "imap_port": server.port, "secret": "mail", "limit": 10}
        return (await kind.run(node_call(given | params))).output["emails"]

    return receiver


async def test_mails_newest_first(receive, mails):
    """Each mail with what it says of itself and the beginning of its text; nothing is marked as read."""
    async with ImapServer(mails) as server:
        found = await receive(server, body_preview=15)
        assert [one["id"] for one in found] == [3, 2, 1]
        assert found[2] | {"size": 0} == {
            "id": 1, "flags": [], "size": 0, "message_id": "<1@example.org>", "from": "Bob <bob@example.org>", "to": "ada@example.org", "cc": "", "subject": "Hello",
            "reply_to": "", "date": "2026-11-21T10:00:00+01:00", "preview": "This is mail 1.",
        }  # fmt: skip
        assert "preview" not in (await receive(server, body_preview=False))[0]
        assert len(await receive(server, limit=2)) == 2
        assert not mails[0][1]
        assert any(line.startswith(b"EXAMINE") or b" EXAMINE " in line for line in server.said)


async def test_filters(receive, mails):
    """Filters reach the server as it needs them, quotes and letters beyond ASCII too."""
    async with ImapServer(mails) as server:
        await receive(server, subject='Say "hi" \\', since="2026-11-01", before="2026-12-01T00:00:00Z")
        assert any(b'SINCE 1-Nov-2026 BEFORE 1-Dec-2026 SUBJECT "Say \\"hi\\" \\\\"\r\n' in line for line in server.said)
        assert [one["id"] for one in await receive(server, **{"from": "carol"})] == [3]
        await receive(server, subject="Größe")
        assert any('CHARSET UTF-8 SUBJECT "Größe"'.encode() in line for line in server.said)
        assert len(await receive(server, folder="été")) == 3


async def test_marked_as_read(receive, mails):
    """Mails are marked when that is asked for, and then are not unseen any more."""
    async with ImapServer(mails) as server:
        assert len(await receive(server, unseen=True, mark_as_read=True, limit=2)) == 2
        assert [one["id"] for one in await receive(server, unseen=True)] == [1]
        assert mails[2][1] == {b"\\Seen"}


async def test_bodies(receive, mails):
    """With the body come text, HTML and files."""
    async with ImapServer(mails) as server:
        two = (await receive(server, with_body=True))[1]
    assert two["body"].splitlines() == ["This is   mail 2.", "With ü."]
    assert two["html"].strip() == "<p>Two</p>"
    assert two["attachments"] == [{"filename": "ä.bin", "content_type": "application/octet-stream", "size": 2, "content_base64": "AP8="}]


@pytest.mark.parametrize("security", ["tls", "starttls", "auto"])
async def test_tls_of_imap(receive, mails, tmp_path, security):
    """The connection is secured before the log-in, and the server's name is proved."""
    context, trusted = certified(tmp_path)
    options = {"tls": context} if security == "tls" else {"starttls": context}
    async with ImapServer(mails, **options) as server:
        assert len(await receive(server, imap_host="localhost", security=security, tls_ca=trusted)) == 3
        with pytest.raises(NodeFailed, match="not proved"):
            await receive(server, security=security)


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"password": "wrong"}, "FlowRunner.MailRefused"),
        ({"folder": "none"}, "FlowRunner.MailRefused"),
        ({"security": "starttls"}, "FlowRunner.MailRefused"),
        ({"imap_host": "10.0.0.1"}, "FlowRunner.EgressRefused"),
        ({"subject": "a\r\nLOGOUT"}, "FlowRunner.InvalidParameters"),
        ({"folder": "a\r\nLOGOUT"}, "FlowRunner.MailRefused"),
        ({"since": "yesterday"}, "FlowRunner.InvalidParameters"),
        ({"password": "a\r\nb"}, "FlowRunner.InvalidParameters"),
    ],
)
async def test_refused_by_imap(receive, mails, params, error):
    """What the server refuses, and what cannot be asked."""
    async with ImapServer(mails) as server:
        with pytest.raises(NodeFailed) as caught:
            await receive(server, **params)
        assert caught.value.error == error
        assert not any(line.startswith(b"LOGOUT") for line in server.said)


async def test_a_log_in_is_needed():
    """There is no mail without a user name."""
    kind = EmailReceive(reach=Reach(EgressPolicy(["127.0.0.1"])), secrets=NoSecrets())
    with pytest.raises(NodeFailed, match="username"):
        await kind.run(node_call({"imap_host": "127.0.0.1"}))


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"From: =?x?q?\r\n\r\n", b"Date: no\r\nContent-Type: text/plain; charset=none\r\n\r\n\xff", b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n",
     b"To: " + b"(" * 5000 + b"\r\n\r\nx", b"Content-Type: message/rfc822\r\n\r\n" * 1000, b"Content-Type: text/plain; a*\r\n\r\nx", b"Content-Type: text/html\r\n\r\nbefore <![<![",
     b"To: (((((\r\nContent-Type: multipart/alternative\r\n\r\nx", b"Content-Transfer-Encoding: base64\r\n\r\n!!!", b"Subject: a\r\n b\xff\r\n\r\n<p>"],
)  # fmt: skip
def test_broken_mails(content):
    """A broken mail is read as far as it can be."""
    assert read_mail(content, body=True, preview=10)["subject"] is not None


def test_parts_within_parts():
    """Of a mail whose parts are nested without end the headers are read."""
    parts = b"".join(b'--b%d\r\nContent-Type: multipart/mixed; boundary="b%d"\r\n\r\n' % (level, level + 1) for level in range(1500))
    found = read_mail(b'Subject: deep\r\nContent-Type: multipart/mixed; boundary="b0"\r\n\r\n' + parts, body=True, preview=10)
    assert (found["subject"], found["body"], found["attachments"], found["preview"]) == ("deep", "", [], "")


def test_html_that_is_none():
    """What stands before a declaration that cannot be read is shown."""
    assert read_mail(b"Content-Type: text/html\r\n\r\n<p>before</p><![x<![", body=False, preview=100)["preview"] == "before"


def test_headers_are_cut():
    """A header is read up to a length: reading it takes the square of that."""
    found = read_mail(b"Subject: " + b"a" * 50_000 + b"\r\nContent-Type: text/plain;" + b" a=b;" * 50_000 + b"\r\n\r\nhi", body=True, preview=0)
    assert len(found["subject"]) == 4_000
    assert found["body"] == "hi"
