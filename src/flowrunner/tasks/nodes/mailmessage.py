"""A mail made of a node's parameters. Nothing in them can add a header or a receiver."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, getaddresses

from flowrunner.jsonvalue import JSONValue
from flowrunner.limits import MIB
from flowrunner.tasks.nodes.reading import Params, bad, given, listing, mapping, optional_text, text

MOST_RECEIVERS = 500
MOST_BYTES = 25 * MIB  # of all attachments: what most servers take
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,76}", re.ASCII)
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*", re.ASCII | re.IGNORECASE)
_LINE_BREAKS = re.compile(r"[\r\n\0\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")  # whatever splits lines somewhere
# Made here, or by the parameters that are meant for them.
_OWN = frozenset({"from", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version", "sender", "return-path", "received"})


@dataclass(frozen=True, slots=True)
class Mail:
    """The message, who sends it and who gets it, as the envelope says."""

    message: EmailMessage
    sender: str
    receivers: tuple[str, ...]


def compose(params: Params, *, key: str, now: int) -> Mail:
    """The mail. `key` makes its Message-ID, `now` (milliseconds since 1970 UTC) its date. Raises NodeFailed."""
    message = EmailMessage(policy=SMTP)
    senders = _addresses(params, "from")
    if len(senders) != 1:
        raise bad("The parameter 'from' must be one address.")
    copied = {name: _addresses(params, name) for name in ("to", "cc", "bcc")}
    receivers = tuple(dict.fromkeys(address.addr_spec for found in copied.values() for address in found))
    if not 0 < len(receivers) <= MOST_RECEIVERS:
        raise bad(f"The parameters 'to', 'cc' and 'bcc' must name 1 to {MOST_RECEIVERS} receivers.")
    message["From"] = senders[0]
    for name, header in (("to", "To"), ("cc", "Cc")):
        if copied[name]:
            message[header] = copied[name]
    message["Subject"] = _line(text(params, "subject", default=""), "subject")
    message["Date"] = formatdate(now / 1000, usegmt=True)
    message["Message-ID"] = message_id(key, senders[0].domain)
    for name, value in mapping(params, "headers").items():
        if not _TOKEN.fullmatch(name) or name.lower() in _OWN or name.lower().startswith("content-"):
            raise bad(f"The parameter 'headers' cannot set {name[:80]!r}.")
        message[name] = _line(value if isinstance(value, str) else str(value), "headers")
    _fill(message, params)
    return Mail(message, senders[0].addr_spec, receivers)


def message_id(key: str, domain: str) -> str:
    """The same for the same attempt, so that whoever gets a mail twice can see it."""
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:40]}@{domain}>"


def _fill(message: EmailMessage, params: Params) -> None:
    body, html = optional_text(params, "body", "text"), optional_text(params, "html")
    message.set_content(body if body is not None else "" if html is None else "This mail is in HTML.\n")
    if html is not None and body is None:
        message.clear_content()
        message.set_content(html, subtype="html")
    elif html is not None:
        message.add_alternative(html, subtype="html")
    left = MOST_BYTES
    for one in listing(params, "attachments"):
        if not isinstance(one, dict):
            raise bad("The parameter 'attachments' must be a list of objects with filename and content.")
        content = _content(one)
        left -= len(content)
        if left < 0:
            raise bad(f"The parameter 'attachments' has more than {MOST_BYTES} bytes.")
        media = text(one, "content_type", default="application/octet-stream")
        if not _MEDIA_TYPE.fullmatch(media) or media.lower().startswith(("multipart/", "message/")):
            raise bad("The parameter 'attachments' has a content_type that is no media type of a file.")
        main, _, sub = media.partition("/")
        message.add_attachment(content, maintype=main, subtype=sub, filename=_line(text(one, "filename", "name"), "attachments"))


def _content(attachment: Mapping[str, JSONValue]) -> bytes:
    if (encoded := optional_text(attachment, "content_base64")) is None:
        return text(attachment, "content", default="").encode()
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise bad("The parameter 'attachments' has a content_base64 that is no base64.") from None


def _addresses(params: Params, name: str) -> list[Address]:
    value = given(params, name)
    texts = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in texts):
        raise bad(f"The parameter {name!r} must be an address, or a list of them.")
    found = []
    for shown, address in getaddresses([_line(one, name) for one in texts if one]):
        local, _, domain = address.rpartition("@")
        made = _address(shown, local, domain)
        if made is None:
            raise bad(f"The parameter {name!r} has {address[:80]!r}, which is no mail address such as ada@example.org.")
        found.append(made)
    return found


def _address(shown: str, local: str, domain: str) -> Address | None:
    if not local or not domain or " " in local + domain:
        return None
    try:
        return Address(shown, username=local, domain=domain)
    except (ValueError, IndexError, HeaderParseError):
        return None


def _line(value: str, name: str) -> str:
    if _LINE_BREAKS.search(value):
        raise bad(f"The parameter {name!r} holds a line break.")
    return value
