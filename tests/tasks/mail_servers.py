"""Mail servers on loopback: aiosmtpd for SMTP, and an IMAP server that speaks as much of RFC 3501 as mail programs need."""

import asyncio
import datetime as dt
import re
import ssl

from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

USER, PASSWORD = "ada", 'pass "word" \\1'


def certified(folder):
    """A context for a server called localhost, and the certificate (PEM) that a client trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number(), now - dt.timedelta(hours=1), now + dt.timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    certificate = (
        made.add_extension(names, critical=False).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "mail.pem").write_bytes(pem + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "mail.pem")
    return context, pem.decode()


class Inbox:
    """Takes mails, but none for receivers that begin with ``no``, and none now for those that begin with ``later``."""

    def __init__(self):
        self.mails = []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - aiosmtpd's name
        if address.startswith("no"):
            return "550 no such user"
        if address.startswith("later"):
            return "451 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.mails.append(envelope)
        return "250 taken"


async def smtp_server(inbox, *, context=None, **options):
    """A server that runs; with `context` it speaks TLS from the start."""

    def authenticate(server, session, envelope, mechanism, data):
        return AuthResult(success=(data.login, data.password) == (USER.encode(), PASSWORD.encode()), handled=False)

    def session():
        return SMTP(inbox, hostname="localhost", authenticator=authenticate, enable_SMTPUTF8=True, **options)

    return await asyncio.get_running_loop().create_server(session, "127.0.0.1", 0, ssl=context)


class ImapServer:
    """One account with one folder. `mails` are [bytes, flags]; the position, from 1, is the UID."""

    def __init__(self, mails, *, tls=None, starttls=None):
        self.mails, self.said, self.port = mails, [], 0
        self._tls, self._starttls = tls, starttls

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._session, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error):
        self._server.close()
        await self._server.wait_closed()

    async def _session(self, reader, writer):
        writer.write(b"* OK ready\r\n")
        try:
            while line := await reader.readline():
                self.said.append(line)
                tag, _, rest = line.rstrip(b"\r\n").partition(b" ")
                verb, _, arguments = rest.partition(b" ")
                if verb.upper() == b"UID":
                    name, _, arguments = arguments.partition(b" ")
                    verb = b"UID " + name
                if verb.upper() == b"STARTTLS":
                    writer.write(tag + b" OK begin\r\n")
                    await writer.start_tls(self._starttls)
                    continue
                for one in self._answer(verb.upper().decode(), arguments):
                    writer.write(one if one.startswith(b"* ") else tag + b" " + one)
                await writer.drain()
                if verb.upper() == b"LOGOUT":
                    break
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _answer(self, verb, arguments):
        match verb:
            case "CAPABILITY":
                yield b"* CAPABILITY IMAP4rev1" + (b" STARTTLS" if self._starttls else b"") + b"\r\n"
            case "LOGIN":
                words = re.findall(rb'"((?:[^"\\]|\\.)*)"|(\S+)', arguments)
                given = [re.sub(rb"\\(.)", rb"\1", quoted or plain).decode() for quoted, plain in words]
                if given != [USER, PASSWORD]:
                    yield b"NO wrong password\r\n"
                    return
            case "SELECT" | "EXAMINE":
                if b"INBOX" not in arguments and b"&AOk-t&AOk-" not in arguments:
                    yield b"NO no such folder\r\n"
                    return
                yield b"* %d EXISTS\r\n" % len(self.mails)
            case "UID SEARCH":
                yield b"* SEARCH" + b"".join(b" %d" % number for number in self._found(arguments)) + b"\r\n"
            case "UID FETCH":
                number = int(arguments.split(b" ")[0])
                content, flags = self.mails[number - 1]
                limit = re.search(rb"<0\.(\d+)>", arguments)
                part = content[: int(limit[1])] if limit else content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
                name = b"BODY[]<0>" if limit else b"BODY[HEADER]"
                shown = b" ".join(sorted(flags))
                yield b"* %d FETCH (UID %d FLAGS (%s) RFC822.SIZE %d %s {%d}\r\n%s)\r\n" % (number, number, shown, len(content), name, len(part), part)
            case "UID STORE":
                for number in arguments.split(b" ")[0].split(b","):
                    self.mails[int(number) - 1][1].add(b"\\Seen")
            case "LOGOUT":
                yield b"* BYE\r\n"
            case "CLOSE" | "NOOP":
                pass
            case _:
                yield b"BAD what\r\n"
                return
        yield b"OK done\r\n"

    def _found(self, criteria):
        for number, (content, flags) in enumerate(self.mails, 1):
            head = content.partition(b"\r\n\r\n")[0].lower()
            wanted = [match[1].lower() for match in re.finditer(rb'(?:SUBJECT|FROM|TO) "([^"]*)"', criteria)]
            if all(text in head for text in wanted) and not (b"UNSEEN" in criteria and b"\\Seen" in flags):
                yield number
