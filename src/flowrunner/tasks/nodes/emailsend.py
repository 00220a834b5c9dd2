"""``email.send``: a mail over SMTP, by the standard library in a thread."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress

from flowrunner.clock import Clock
from flowrunner.jsonvalue import JSONObject
from flowrunner.kinds import BUILT_IN
from flowrunner.ports.secrets import SecretSource
from flowrunner.tasks.nodes.credentials import with_secret
from flowrunner.tasks.nodes.kind import NodeCall, NodeFailed, NodeKind, NodeResult
from flowrunner.tasks.nodes.mailmessage import Mail, compose
from flowrunner.tasks.nodes.mailserver import REFUSED, UNREACHABLE, MailServer, mail_server, talk, unsafe
from flowrunner.tasks.nodes.reach import Reach
from flowrunner.tasks.nodes.threads import Threads

PORTS = frozenset({25, 465, 587, 2525})
DEFERRED = "FlowRunner.MailDeferred"  # the server asks to come back: replies from 400 to 499


class EmailSend(NodeKind):
    """Sends one mail."""

    info = BUILT_IN["email.send"]

    def __init__(self, *, reach: Reach, secrets: SecretSource, clock: Clock) -> None:
        self._reach = reach
        self._secrets = secrets
        self._clock = clock
        self._threads = Threads("smtp")

    async def run(self, call: NodeCall) -> NodeResult:
        """``{message_id, accepted, refused}``."""
        params = await with_secret(call, self._secrets)
        mail = compose(params, key=call.key, now=self._clock.now())
        server = await mail_server(params, self._reach, what="smtp", port=587, tls_port=465, ports=PORTS)
        refused = await talk(server, self._threads, lambda plain: _sent(server, plain, mail))
        output: JSONObject = {
            "message_id": mail.message["Message-ID"],
            "accepted": [one for one in mail.receivers if one not in refused],
            "refused": {one: _reply(*answer) for one, answer in refused.items()},
        }
        return NodeResult(output)


class _Client(smtplib.SMTP):
    """Speaks over a socket that is connected already. It calls itself by an address: the machine's name is nobody's business."""

    def __init__(self, made: socket.socket, seconds: float) -> None:
        self._made = made
        super().__init__(timeout=seconds, local_hostname="[127.0.0.1]")

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        del host, port, timeout
        return self._made


def _sent(server: MailServer, made: socket.socket, mail: Mail) -> Mapping[str, tuple[int, bytes]]:
    """Say it all; the receivers that the server refused."""
    client = _Client(made, server.seconds)
    try:
        code, greeting = client.connect(server.address, server.port)
        if code != 220:
            raise NodeFailed(_reply(code, greeting), error=_error(code))
        secured = server.security == "tls"
        client.ehlo_or_helo_if_needed()
        if not secured and server.wants_starttls(offered=client.has_extn("starttls")):
            client.starttls(context=server.context())
            client.ehlo()
            secured = True
        if server.username is not None:
            server.check_password(secured=secured)
            client.login(server.username, server.password)
        return client.send_message(mail.message, mail.sender, mail.receivers)
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        raise NodeFailed(f"No receiver was taken: {_reply(code, text)}", error=_error(code)) from None
    except smtplib.SMTPResponseException as error:
        raise NodeFailed(_reply(error.smtp_code, error.smtp_error), error=_error(error.smtp_code)) from None
    except smtplib.SMTPServerDisconnected:
        raise NodeFailed(f"The server {server.host} ended the connection.", error=UNREACHABLE) from None
    except smtplib.SMTPException as error:  # it has not what the mail needs: log-in, or addresses beyond ASCII
        raise NodeFailed(str(error), error=REFUSED) from None
    except ssl.SSLError as error:
        raise unsafe(server, error) from None
    finally:
        with suppress(smtplib.SMTPException, OSError):  # whatever comes now: the mail has been taken, or the failure is known
            client.quit()
        client.close()


def _error(code: int) -> str:
    return DEFERRED if 400 <= code < 500 else REFUSED


def _reply(code: int, text: bytes | str) -> str:
    return f"{code} {text.decode('utf-8', 'replace') if isinstance(text, bytes) else text}"
