"""Discovery: what a stranger may learn without a token, and whether it is true."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from conformance.checks import check
from conformance.expect import FHIR_TYPES, expect_status, json_object, member
from conformance.session import Session
from conformance.verdicts import Failed
from profiles.engine import r4

SMART: Final = "/fhir/.well-known/smart-configuration"
METADATA: Final = "/.well-known/oauth-authorization-server"
ALGORITHMS: Final = frozenset({"RS384", "ES384"})
TASK_INTERACTIONS: Final = frozenset({"read", "search-type", "update", "patch"})


def _absolute(value: Any) -> bool:
    parts = urlsplit(value) if isinstance(value, str) else urlsplit("")
    return parts.scheme in ("http", "https") and bool(parts.netloc)


@check(
    "discovery-smart-configuration",
    "The SMART configuration is public JSON and names what a backend client needs",
    "SMART-CONF-1",
    "SMART-CONF-2",
    "SMART-CONF-5",
    likely="the document is served at the server's root instead of below the FHIR base, or a required member was left out",
)
def smart_configuration(session: Session) -> None:
    """Asks for it as a browser, a FHIR client and a JSON client would: it is JSON each time and has the required members."""
    for accept in ("application/json", "application/fhir+json", "*/*"):
        answer = session.get(SMART, Accept=accept)
        expect_status(answer, 200)
        if answer.media_type != "application/json":
            raise Failed(f"served as {answer.media_type or 'nothing'} to Accept: {accept}", answer)
    for name in ("capabilities", "grant_types_supported", "code_challenge_methods_supported", "scopes_supported"):
        member(answer, name, list)
    document = json_object(answer)
    if not _absolute(document.get("token_endpoint")):
        raise Failed("token_endpoint is not an absolute URL", answer)
    if "client-confidential-asymmetric" not in document["capabilities"]:
        raise Failed("capabilities does not name client-confidential-asymmetric", answer)
    if "client_credentials" not in document["grant_types_supported"]:
        raise Failed("grant_types_supported does not name client_credentials", answer)
    if "private_key_jwt" not in member(answer, "token_endpoint_auth_methods_supported", list):
        raise Failed("token_endpoint_auth_methods_supported does not name private_key_jwt", answer)
    if not ALGORITHMS & set(member(answer, "token_endpoint_auth_signing_alg_values_supported", list)):
        raise Failed("neither RS384 nor ES384 is offered for assertions", answer)


@check(
    "discovery-conditional-rules",
    "What the SMART configuration says depends on what the server offers",
    "SMART-CONF-3",
    "SMART-CONF-4",
    "SMART-CONF-6",
    likely="the document was written by hand once and no longer follows the server's features",
)
def conditional_rules(session: Session) -> None:
    """S256 and never plain; issuer and jwks_uri with OpenID Connect and issuer not otherwise; authorization_endpoint with app launch."""
    answer = session.get(SMART)
    expect_status(answer, 200)
    document = json_object(answer)
    methods = member(answer, "code_challenge_methods_supported", list)
    if "S256" not in methods or "plain" in methods:
        raise Failed("code_challenge_methods_supported must hold S256 and must not hold plain", answer)
    capabilities = set(member(answer, "capabilities", list))
    if "sso-openid-connect" in capabilities and not ("issuer" in document and "jwks_uri" in document):
        raise Failed("sso-openid-connect is claimed without issuer and jwks_uri", answer)
    if "sso-openid-connect" not in capabilities and "issuer" in document:
        raise Failed("issuer is given although sso-openid-connect is not claimed", answer)
    if capabilities & {"launch-ehr", "launch-standalone"} and "authorization_endpoint" not in document:
        raise Failed("app launch is claimed without authorization_endpoint", answer)
    for name, value in document.items():
        if name.endswith(("_endpoint", "_uri", "issuer")) and not _absolute(value):
            raise Failed(f"{name} is not an absolute URL", answer)


@check(
    "discovery-authorization-server",
    "The RFC 8414 metadata agrees with the SMART configuration",
    "RFC8414-1",
    "RFC8414-2",
    likely="the two documents are made from different settings, or the issuer is taken from the Host header",
)
def authorization_server(session: Session) -> None:
    """The issuer is the address asked, and what both documents say is the same."""
    smart = json_object(session.get(SMART))
    answer = session.get(METADATA)
    expect_status(answer, 200)
    document = json_object(answer)
    if document.get("issuer") != session.target:
        raise Failed("issuer is not the URL under which the metadata was found", answer)
    for name in ("token_endpoint", "grant_types_supported", "token_endpoint_auth_methods_supported"):
        if document.get(name) != smart.get(name):
            raise Failed(f"{name} differs from the SMART configuration", answer)
    uri = document.get("jwks_uri")
    if uri is not None:
        keys = session.anonymous.send("GET", str(uri), headers={"Accept": "application/json"})
        expect_status(keys, 200, why="jwks_uri")
        if any({"d", "p", "q", "k"} & key.keys() for key in member(keys, "keys", list)):
            raise Failed("the published JWK Set holds a private member", keys)


@check(
    "discovery-capability-statement",
    "The CapabilityStatement is public, valid R4 and true",
    "FHIR-CAP-1",
    "FHIR-CAP-2",
    "CRG-TASK-1",
    likely="the statement is a fixed file that was not changed with the server",
)
def capability_statement(session: Session) -> None:
    """It validates as R4, says 4.0.1, offers what a receiver needs on Task, and each type it lets be searched can be searched."""
    answer = session.get("/fhir/metadata", Accept="application/fhir+json")
    expect_status(answer, 200)
    if answer.media_type not in FHIR_TYPES:
        raise Failed(f"served as {answer.media_type or 'nothing'}", answer)
    document = json_object(answer)
    if document.get("resourceType") != "CapabilityStatement":
        raise Failed("the answer is not a CapabilityStatement", answer)
    faults = [issue for issue in r4().validate(document) if issue.severity in ("error", "fatal")]
    if faults:
        raise Failed(f"not valid R4: {', '.join(faults[0].expression)}: {faults[0].text}", answer)
    if document["fhirVersion"] != "4.0.1":
        raise Failed("fhirVersion is not 4.0.1", answer)
    servers = [rest for rest in document.get("rest", []) if rest["mode"] == "server"]
    offered = {
        each["type"]: {code["code"] for code in each.get("interaction", [])} for rest in servers for each in rest.get("resource", [])
    }
    if not offered.get("Task", set()) >= TASK_INTERACTIONS:
        raise Failed("Task is not offered with read, search-type, update and patch", answer)
    for kind in sorted(kind for kind, codes in offered.items() if "search-type" in codes and session.covers("receiver", kind, "s")):
        found = session.receiver.call("GET", f"/fhir/{kind}?_count=1")
        expect_status(found, 200, why=f"{kind} is said to be searchable")
        if json_object(found).get("resourceType") != "Bundle":
            raise Failed(f"a search of {kind} is not answered with a Bundle", found)
