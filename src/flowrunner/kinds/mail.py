"""Kinds for mail: email.send, email.receive."""

from __future__ import annotations

from flowrunner.kinds.http import BAD_PARAMETERS, EGRESS
from flowrunner.kinds.info import KindInfo, boolean, choice, duration, fields, integer, listed, mapping, text, text_or_texts, texts

_ATTACHMENT = fields(
    {
        "filename": text("The file's name."),
        "content": text("The content, as text."),
        "content_base64": text("The content, in base64, when it is no text."),
        "content_type": text("Its media type.", default="application/octet-stream"),
    },
    "filename",
)
SEND = KindInfo(
    name="email.send",
    title="Send mail",
    description="Sends a mail over SMTP. The message id is made of the attempt's idempotency key: each retry has another one.",
    parameters=fields(
        {
            "smtp_host": text("The server."),
            "smtp_port": integer("Its port.", minimum=1, maximum=65_535, default=587),
            "security": choice("How the connection is secured: `auto` uses TLS on port 465, else STARTTLS where it is offered.", "auto", "tls", "starttls", "none", default="auto"),
            "username": text("To log in with."),
            "password": text("To log in with; only over a secured connection, or on loopback."),
            "from": text("The sender."),
            "to": text_or_texts("The receivers."),
            "cc": text_or_texts("Receivers of a copy."),
            "bcc": text_or_texts("Receivers that the others do not see."),
            "subject": text("The subject."),
            "body": text("The text."),
            "html": text("The same as HTML."),
            "attachments": listed("Files.", _ATTACHMENT),
            "headers": mapping("More headers."),
            "secret": text("The name of a structured secret with username and password, and whatever else may stand here."),
            "tls_ca": text("Certificates of the authority to trust instead of the system's, as PEM text."),
            "timeout": duration("The longest it may take.", "60s", limit=True),
        },
        "smtp_host",
        "from",
        "to",
    ),
    outputs=fields({"message_id": text("The mail's id."), "accepted": texts("Receivers that the server took."), "refused": mapping("Those it did not take, with its answer.")}),
    errors=(EGRESS, BAD_PARAMETERS, ("FlowRunner.MailRefused", "the server took no receiver, or refused the log-in or the mail"), ("FlowRunner.MailDeferred", "the server asks to come back later"), ("FlowRunner.MailUnreachable", "the server could not be reached, or has not proved who it is")),
)  # fmt: skip
RECEIVE = KindInfo(
    name="email.receive",
    title="Receive mail",
    description="Reads mails over IMAP.",
    parameters=fields(
        {
            "imap_host": text("The server."),
            "imap_port": integer("Its port.", minimum=1, maximum=65_535, default=993),
            "security": choice("How the connection is secured: `auto` uses TLS on port 993, else STARTTLS where it is offered.", "auto", "tls", "starttls", "none", default="auto"),
            "username": text("To log in with."),
            "password": text("To log in with; only over a secured connection, or on loopback."),
            "folder": text("The folder.", default="INBOX"),
            "since": text("Only mails from this day on, `2026-11-21`."),
            "before": text("Only mails before this day."),
            "from": text("Only mails whose sender has this in it."),
            "to": text("Only mails whose receiver has this in it."),
            "subject": text("Only mails whose subject has this in it."),
            "unseen": boolean("Only mails that were not read.", default=False),
            "limit": integer("The most mails, newest first.", minimum=1, default=10),
            "mark_as_read": boolean("Whether they are marked as read.", default=False),
            "with_body": boolean("Whether to give the text, HTML and attachments.", default=False),
            "body_preview": {"type": ["integer", "boolean"], "description": "How many characters of the text to give as `preview`.", "default": 200},
            "secret": text("The name of a structured secret with username and password, and whatever else may stand here."),
            "tls_ca": text("Certificates of the authority to trust instead of the system's, as PEM text."),
            "timeout": duration("The longest it may take.", "60s", limit=True),
        },
        "imap_host",
    ),
    outputs=fields({"emails": listed("Each with `id`, `message_id`, `from`, `to`, `cc`, `subject`, `reply_to`, `date`, `flags`, `size`, `truncated`, `preview`, `body`, `html`, `attachments`."), "count": integer("How many.")}),
    errors=(EGRESS, BAD_PARAMETERS, ("FlowRunner.MailRefused", "the server refused the log-in or the folder"), ("States.DataLimitExceeded", "the mails have more than 32 MiB"), ("FlowRunner.MailUnreachable", "the server could not be reached, or has not proved who it is")),
)  # fmt: skip
KINDS = (SEND, RECEIVE)
