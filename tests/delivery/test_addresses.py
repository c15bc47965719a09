"""Outbound addresses: what the gateway never calls, whoever registered or discovered it."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from gateway.delivery.addresses import AddressRefused, AddressUnknown, may_connect, require_address, require_same_peer, resolve


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://ehr.example/fhir", "scheme"),
        ("ftp://ehr.example/fhir", "scheme"),
        ("//ehr.example/fhir", "scheme"),
        ("https://user@ehr.example/fhir", "userinfo"),
        ("https://localhost:80@evil.example/", "userinfo"),
        ("https://@ehr.example/", "userinfo"),
        ("https://ehr.example/fhir#x", "fragment"),
        ("https://ehr.example/fhir#", "fragment"),
        ("https://ehr.example:0/fhir", "address-form"),
        ("https://ehr.example:99999/fhir", "address-form"),
        ("https://ehr.example\\@evil.example/", "address-form"),
        ("https://ehr.example/a b", "address-form"),
        ("https://ehr.example/\r\nHost: evil", "address-form"),
        ("https://ehr.exämple/fhir", "address-form"),
        ("https:///fhir", "host-form"),
        ("https://ehr..example/fhir", "host-form"),
        ("https://2130706433/", "host-form"),
        ("https://017700000001/", "host-form"),
        ("https://0x7f000001/", "host-form"),
        ("https://0x7f.0.0.1/", "host-form"),
        ("https://0177.0.0.1/", "host-form"),
        ("https://127.1/", "host-form"),
        ("https://127.0.0.1.0x1/", "host-form"),
        ("https://[::1/", "address-form"),
        ("https://[fe80::1%25eth0]/", "host-form"),
        ("https://" + "a" * 3000 + ".example/", "address-form"),
    ],
)
def test_an_address_of_a_doubtful_form_is_refused(url, code):
    with pytest.raises(AddressRefused) as refused:
        require_address(url, allow_private=False)
    assert refused.value.code == code
    assert url not in str(refused.value)


def test_a_good_address_is_taken_apart_in_lower_case_without_the_trailing_dot():
    address = require_address("https://EHR.Northside.Example./fhir", allow_private=False)
    assert (address.host, address.port) == ("ehr.northside.example", 443)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "240.0.0.1",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "fec0::1",
        "ff02::1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "2001:db8::1",
    ],
)
def test_no_connection_goes_into_a_private_or_special_network(host):
    assert not may_connect(ipaddress.ip_address(host), allow_private=False)
    literal = f"[{host}]" if ":" in host else host
    with pytest.raises(AddressRefused):
        resolve(require_address(f"https://{literal}/", allow_private=False).host, 443, allow_private=False)


@pytest.mark.parametrize("host", ["93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34"])
def test_public_addresses_are_called(host):
    assert may_connect(ipaddress.ip_address(host), allow_private=False)


@pytest.mark.parametrize("host", ["169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "::ffff:169.254.169.254"])
def test_even_a_machine_of_ones_own_never_calls_metadata_or_multicast(host):
    assert not may_connect(ipaddress.ip_address(host), allow_private=True)
    assert may_connect(ipaddress.ip_address("127.0.0.1"), allow_private=True)


def answers(*hosts):
    return lambda *_, **__: [(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 443)) for host in hosts]


def test_a_name_with_one_private_answer_among_public_ones_is_refused(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", answers("93.184.216.34", "127.0.0.1"))
    with pytest.raises(AddressRefused):
        resolve("rebinding.example", 443, allow_private=False)


def test_a_name_that_does_not_resolve_is_no_refusal(monkeypatch):
    def nothing(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    with pytest.raises(AddressUnknown):
        resolve("ehr.example", 443, allow_private=False)


REGISTERED = "https://ehr.northside.example:8443/fhir"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://ehr.northside.example:8443/oauth/token", None),
        ("https://ehr.northside.example/token", None),
        ("https://EHR.northside.example./token", None),
        ("https://login.idp.example/token", None),
        ("https://login.idp.example:8443/token", "foreign-host"),
        ("https://ehr.northside.example:22/token", "foreign-host"),
        ("https://evil.example/token", "foreign-host"),
        ("https://ehr.northside.example.evil.example/token", "foreign-host"),
        ("http://ehr.northside.example/token", "scheme"),
    ],
)
def test_a_token_endpoint_must_be_the_peers_own_or_allowed_by_name(url, code):
    registered = require_address(REGISTERED, allow_private=True)
    address = require_address(url, allow_private=True)
    if code is None:
        require_same_peer(address, registered, {"login.idp.example"})
        return
    with pytest.raises(AddressRefused) as refused:
        require_same_peer(address, registered, {"login.idp.example"})
    assert refused.value.code == code
