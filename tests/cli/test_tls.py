"""A server for the network: with TLS, or because the operator says so."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from processes import flowrunner, serving

PEM, PLAIN = serialization.Encoding.PEM, serialization.NoEncryption()


def written(folder, name="server", encryption=PLAIN):
    """A self-signed certificate for this machine and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number(), now - dt.timedelta(hours=1), now + dt.timedelta(days=1))
    certificate = (
        builder.add_extension(names, critical=False).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption))
    return folder / f"{name}.crt", folder / f"{name}.key"


def configured(folder, certificate, key):
    (folder / "flowrunner.toml").write_text(f'store = "memory:"\n[server.tls]\ncert_file = "{certificate}"\nkey_file = "{key}"\n')


def test_tls_is_served(tmp_path):
    """TLS 1.2 and newer, HSTS on every answer, nothing in the clear on the same port."""
    certificate, key = written(tmp_path)
    configured(tmp_path, certificate, key)
    with serving("serve", "--host", "0.0.0.0", folder=tmp_path) as server:
        port = int(server.url.rpartition(":")[2])
        trust = ssl.create_default_context(cafile=str(certificate))
        for path in ("/healthz", "/nothing", "/api/v2/workflows/runs"):
            answer = httpx.get(f"https://127.0.0.1:{port}{path}", verify=trust)
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert httpx.get(f"https://localhost:{port}/healthz", verify=trust).status_code == 200
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP/1.1 200" not in plain.recv(1000)
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            trust.minimum_version = trust.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)), socket.create_connection(("127.0.0.1", port), timeout=10) as old:
            trust.wrap_socket(old, server_hostname="localhost")
        assert server.stop() == 0


FAULTS = {
    "no key": (lambda folder, crt, _: configured_with(folder, f'cert_file = "{crt}"'), "needs both"),
    "no such file": (lambda folder, crt, _: configured(folder, crt, folder / "nothing.key"), "There is no file"),
    "a folder": (lambda folder, crt, _: configured(folder, crt, folder), "There is no file"),
    "not a key": (lambda folder, crt, _: configured(folder, crt, crt), "cannot be used"),
    "not PEM": (lambda folder, crt, _: configured(folder, crt, folder / "flowrunner.toml"), "cannot be used"),
    "of another certificate": (lambda folder, crt, _: configured(folder, crt, written(folder, "other")[1]), "cannot be used"),
    "encrypted": (lambda folder, *_: configured(folder, *written(folder, "sealed", serialization.BestAvailableEncryption(b"word"))), "cannot be used"),
}


def configured_with(folder, lines):
    (folder / "flowrunner.toml").write_text(f'store = "memory:"\n[server.tls]\n{lines}\n')


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_certificate_is_said(tmp_path, fault):
    """Each fault names the file, before anything listens; nothing asks for a password."""
    arrange, message = FAULTS[fault]
    arrange(tmp_path, *written(tmp_path))
    shown = flowrunner("serve", "--port", "0", folder=tmp_path, text="")
    assert shown.returncode == 2, shown
    assert message in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_the_network_needs_tls(tmp_path, host):
    """Without TLS a server listens on this machine only, unless it is told that a proxy has TLS."""
    shown = flowrunner("serve", "--host", host, "--port", "0", "--store", "memory:", folder=tmp_path)
    assert shown.returncode == 2
    assert "in the clear" in shown.stderr
    assert "--insecure" in shown.stderr


def test_insecure_listens_for_the_network(tmp_path):
    """The operator's word is enough; --dev is no such word."""
    with serving("serve", "--insecure", "--host", "0.0.0.0", "--store", "memory:", folder=tmp_path) as server:
        answer = httpx.get(f"http://127.0.0.1:{server.url.rpartition(':')[2]}/healthz")
        assert answer.status_code == 200
        assert "strict-transport-security" not in answer.headers
    shown = flowrunner("serve", "--dev", "--insecure", "--host", "0.0.0.0", "--store", "memory:", folder=tmp_path)
    assert shown.returncode == 2


def test_commands_reach_the_server_of_their_settings(tmp_path):
    """In TLS, where the settings say so; a certificate that nobody knows is told as that, with what helps."""
    certificate, key = written(tmp_path)
    configured(tmp_path, certificate, key)
    with serving("serve", "--dev", folder=tmp_path) as server:
        here = {"folder": tmp_path, "FLOWRUNNER_PORT": server.url.rpartition(":")[2]}
        listed = flowrunner("ls", **here, SSL_CERT_FILE=str(certificate))
        assert (listed.returncode, listed.stdout.split()[:2]) == (0, ["RUN", "WORKFLOW"]), listed
        assert f"AWS_ENDPOINT_URL_SFN={server.url}\n" in flowrunner("env", **here).stdout
        for words in (("ls",), ("watch", "x")):
            refused = flowrunner(*words, **here)
            assert refused.returncode == 6
            assert f"The certificate of {server.url} is not trusted" in refused.stderr
            assert "SSL_CERT_FILE" in refused.stderr
        found = flowrunner("doctor", **here, FLOWRUNNER_STORE="sqlite:///flow.db")
        assert (found.returncode, "a FlowRunner server answers there" in found.stdout) == (0, True), found


@pytest.mark.parametrize("named", ["nothing.pem", "empty.pem", "flowrunner.toml"])
def test_certificates_to_trust_that_cannot_be_read(tmp_path, named):
    """A slip in SSL_CERT_FILE is a usage error with its name."""
    (tmp_path / "empty.pem").write_text("")
    configured(tmp_path, *written(tmp_path))
    shown = flowrunner("ls", "--server", "https://127.0.0.1:9", folder=tmp_path, SSL_CERT_FILE=named)
    assert shown.returncode == 2, shown
    assert f"The certificates of {named} cannot be read" in shown.stderr
