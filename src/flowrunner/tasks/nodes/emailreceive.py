"""``email.receive``: mails over IMAP4rev1 (RFC 3501), by the standard library in a thread."""

from __future__ import annotations

import base64
import imaplib
import re
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from flowrunner.core.faults import DATA_LIMIT_EXCEEDED
from flowrunner.jsonvalue import JSONObject, JSONValue
from flowrunner.kinds import BUILT_IN
from flowrunner.limits import MIB
from flowrunner.ports.secrets import SecretSource
from flowrunner.tasks.nodes.credentials import with_secret
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.mailread import read_mail
from flowrunner.tasks.nodes.mailserver import REFUSED, UNREACHABLE, MailServer, mail_server, talk, unsafe
from flowrunner.tasks.nodes.reach import Reach
from flowrunner.tasks.nodes.reading import Params, bad, flag, given, optional_text, text, whole
from flowrunner.tasks.nodes.threads import Threads

PORTS = frozenset({143, 993})
MOST_MAILS = 500
WHOLE_BYTES = 8 * MIB  # of a mail whose body is asked for; what is beyond is cut off
PREVIEW_BYTES = 256 * 1024  # of one whose preview is asked for
MOST_BYTES = 32 * MIB  # of all mails of one attempt
PREVIEW = 200  # characters
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UID = re.compile(rb"UID (\d+)")
_SIZE = re.compile(rb"RFC822\.SIZE (\d+)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class EmailReceive(NodeKind):
    """Reads mails of one folder, newest first."""

    info = BUILT_IN["email.receive"]

    def __init__(self, *, reach: Reach, secrets: SecretSource) -> None:
        self._reach = reach
        self._secrets = secrets
        self._threads = Threads("imap")

    def idempotent(self, call: NodeCall) -> bool:
        """Unless mails are marked: another attempt would not find them again."""
        return call.params.get("mark_as_read") in (None, False, "false")

    async def run(self, call: NodeCall) -> NodeResult:
        """``{emails, count}``."""
        params = await with_secret(call, self._secrets)
        wanted = _wanted(params)
        server = await mail_server(params, self._reach, what="imap", port=993, tls_port=993, ports=PORTS)
        if server.username is None:
            raise bad("The parameter 'username' is missing.")
        emails = await talk(server, self._threads, lambda plain: _received(server, plain, wanted))
        return NodeResult({"emails": emails, "count": len(emails)})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    folder: bytes
    criteria: tuple[bytes, ...]
    limit: int
    mark: bool
    body: bool
    preview: int


def _wanted(params: Params) -> _Wanted:
    criteria = [b"UNSEEN"] if flag(params, "unseen", default=False) else []
    for name, word in (("since", b"SINCE"), ("before", b"BEFORE")):
        if (day := optional_text(params, name)) is not None:
            criteria += [word, _day(day, name)]
    for name, word in (("from", b"FROM"), ("to", b"TO"), ("subject", b"SUBJECT")):
        if (part := optional_text(params, name)) is not None:
            criteria += [word, _quoted(part, name)]
    preview = given(params, "body_preview")
    if isinstance(preview, bool):
        preview = PREVIEW if preview else 0
    return _Wanted(
        folder=_folder(text(params, "folder", default="INBOX")),
        criteria=tuple(criteria) or (b"ALL",),
        limit=whole(params, "limit", default=10, low=1, high=MOST_MAILS),
        mark=flag(params, "mark_as_read", default=False),
        body=flag(params, "with_body", default=False),
        preview=whole({"body_preview": preview}, "body_preview", default=PREVIEW, low=0, high=100_000),
    )


class _Client(imaplib.IMAP4):
    """Speaks over a socket that is connected already, and takes no more than it was told to."""

    def __init__(self, made: socket.socket) -> None:
        self._made = made
        super().__init__()

    def _create_socket(self, timeout: float | None) -> socket.socket:
        del timeout
        return self._made

    def read(self, size: int) -> bytes:
        """A literal's bytes; raises NodeFailed for one that was not asked for."""
        if size > WHOLE_BYTES + MIB:
            raise NodeFailed("The server sends more than was asked for.", error=DATA_LIMIT_EXCEEDED)
        return super().read(size)


def _received(server: MailServer, made: socket.socket, wanted: _Wanted) -> list[JSONObject]:
    client = None
    try:
        client = _Client(made)
        secured = server.security == "tls"
        if not secured and server.wants_starttls(offered="STARTTLS" in client.capabilities):
            client.starttls(server.context())
            secured = True
        server.check_password(secured=secured)
        client._encoding = "utf-8"  # type: ignore[attr-defined]  # noqa: SLF001 - of log-ins; there is no public way
        client.login(_escaped(server.username or ""), server.password)
        _ok(client.select(wanted.folder.decode(), readonly=not wanted.mark))
        return _mails(client, wanted)
    except imaplib.IMAP4.abort as error:
        raise NodeFailed(f"The server {server.host} ended the connection: {error}", error=UNREACHABLE) from None
    except imaplib.IMAP4.error as error:
        raise NodeFailed(_said(error.args[0] if error.args else ""), error=REFUSED) from None
    except ssl.SSLError as error:
        raise unsafe(server, error) from None
    finally:
        if client is not None:
            with suppress(imaplib.IMAP4.error, OSError):
                client.logout()
            client.file.close()


def _mails(client: imaplib.IMAP4, wanted: _Wanted) -> list[JSONObject]:
    charset = () if all(part.isascii() for part in wanted.criteria) else (b"CHARSET", b"UTF-8")
    found = _ok(client.uid("SEARCH", *charset, *wanted.criteria))[0]  # type: ignore[arg-type]  # imaplib takes bytes, too
    uids = sorted(map(int, found.split() if isinstance(found, bytes) else ()), reverse=True)[: wanted.limit]
    limit = WHOLE_BYTES if wanted.body else PREVIEW_BYTES if wanted.preview else 0
    part = f"BODY.PEEK[]<0.{limit}>" if limit else "BODY.PEEK[HEADER]"
    emails, left = [], MOST_BYTES
    for uid in uids:
        answer = _ok(client.uid("FETCH", str(uid), f"(UID FLAGS RFC822.SIZE {part})"))
        mail = _mail(uid, answer, limit, wanted)
        if mail is None:  # it was removed meanwhile
            continue
        left -= sum(len(one[1]) for one in answer if isinstance(one, tuple))
        if left < 0:
            raise NodeFailed(f"The mails have more than {MOST_BYTES} bytes. Ask for fewer (limit).", error=DATA_LIMIT_EXCEEDED)
        emails.append(mail)
    if wanted.mark and emails:
        _ok(client.uid("STORE", ",".join(str(mail["id"]) for mail in emails), "+FLAGS.SILENT", "(\\Seen)"))
    return emails


def _mail(uid: int, answer: Sequence[bytes | tuple[bytes, bytes] | None], limit: int, wanted: _Wanted) -> JSONObject | None:
    for one in answer:
        if isinstance(one, tuple) and (match := _UID.search(one[0])) and int(match[1]) == uid:
            size = _SIZE.search(one[0])
            flags = [flag.decode("ascii", "replace") for flag in imaplib.ParseFlags(one[0])]
            mail: dict[str, JSONValue] = {"id": uid, "flags": flags, "size": int(size[1]) if size else len(one[1])}
            mail |= read_mail(one[1], body=wanted.body, preview=wanted.preview)
            if limit and isinstance(mail["size"], int) and mail["size"] > limit:
                mail["truncated"] = True
            return mail
    return None


def _ok(answer: tuple[str, Sequence[bytes | tuple[bytes, bytes] | None]]) -> Sequence[bytes | tuple[bytes, bytes] | None]:
    if answer[0] != "OK":
        raise NodeFailed(_said(answer[1][0] if answer[1] else ""), error=REFUSED)
    return answer[1]


def _said(text: object) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _day(value: str, name: str) -> bytes:
    try:
        day = date.fromisoformat(value[:10])
    except ValueError:
        raise bad(f"The parameter {name!r} must be a day such as 2026-11-21.") from None
    return f"{day.day}-{_MONTHS[day.month - 1]}-{day.year}".encode()


def _quoted(value: str, name: str) -> bytes:
    if _CONTROL.search(value):
        raise bad(f"The parameter {name!r} holds a control character.")
    return b'"' + _escaped(value).encode() + b'"'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _folder(name: str) -> bytes:
    """A folder's name in modified UTF-7 (RFC 3501, 5.1.3), quoted."""
    made, beyond = "", ""
    for sign in name + "\0":
        if " " <= sign <= "~" or sign == "\0":
            if beyond:
                made += "&" + base64.b64encode(beyond.encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"
                beyond = ""
            made += "&-" if sign == "&" else sign
        else:
            beyond += sign
    return _quoted(made[:-1], "folder")
