"""HTTPS towards a judged address: the certificate is that of the name, whatever the address."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.delivery.outbound import CallFailed, Calls
from tests.delivery.peers import Server


class Secure(Server):
    """An HTTPS server that keeps the SNI it was asked for."""

    def __init__(self, chain):
        super().__init__()
        self.names = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.port = self._http.server_address[1]

    def answer(self, request):
        return 200, {}, b"{}"


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for ehr.test, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ehr.test")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("ehr.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "ehr.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(built.public_bytes(serialization.Encoding.PEM) + private)
    return str(file)


@pytest.fixture
def server(certificate, monkeypatch):
    opened = Secure(certificate)
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", opened.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    yield opened
    opened.close()


def call(server, host, ca_file):
    with Calls(lambda address: None, allow_private=True, ca_file=ca_file) as calls:
        return calls.call("GET", f"https://{host}:{server.port}/fhir", headers={})


def test_sni_and_host_are_those_of_the_name(server, certificate):
    assert call(server, "ehr.test", certificate).status == 200
    assert server.names == ["ehr.test"]
    assert server.requests[0].headers["Host"] == f"ehr.test:{server.port}"


@pytest.mark.parametrize("host", ["other.test", "sub.ehr.test"])
def test_a_certificate_of_another_name_ends_the_call_before_anything_leaves(server, certificate, host):
    with pytest.raises(CallFailed) as failed:
        call(server, host, certificate)
    assert (failed.value.code, failed.value.begun) == ("tls", False)
    assert server.requests == []


def test_a_certificate_nobody_vouches_for_ends_the_call(server):
    with pytest.raises(CallFailed) as failed:
        call(server, "ehr.test", None)
    assert (failed.value.code, failed.value.begun) == ("tls", False)
