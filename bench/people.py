"""Who speaks in the bench: one agency's records system and one clinic's EHR, as in docs/example/parties.toml, and a 911 centre, with keys
of their own.
"""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from uuid import uuid4

from joserfc import jwt
from joserfc.jwk import ECKey

import mappings
from bench.load import ROOT, ask

RMS: Final = "riverton-rms"
EHR: Final = "northside-ehr"
CAD: Final = "county-cad"
CLINIC: Final = "northside-clinic"
# The centre, and the team its calls are offered to; without a channel, as the clinic.
EMERGENCY: Final = """
[organization.county-911]
name = "County 911"
postures = ["emergency_dispatch"]

[organization.county-mobile-crisis]
name = "County Mobile Crisis"
postures = ["covered_entity"]
services = ["mobile-crisis"]

[client.county-cad]
organization = "county-911"
jwks = "county-cad.jwks.json"
scopes = "__gateway.intake.eido"
purposes = ["COC"]
"""
SCOPES: Final = {
    RMS: "__gateway.intake.rms-diversion",
    EHR: "system/Task.rus system/ServiceRequest.rs system/Patient.rs",
    "harbor-ehr": "system/Task.rus",
    CAD: "__gateway.intake.eido",
}
FORM: Final = "application/x-www-form-urlencoded"
_ASSERTION_SECONDS: Final = 280

_numbers = count(1)


@dataclass(slots=True)
class Person:
    """A registered system. port: of the gateway it speaks to."""

    client_id: str
    key: ECKey
    port: int = 0

    def token_form(self) -> bytes:
        """The body of a token request with an assertion of its own."""
        now = int(time.time())
        audience = f"http://127.0.0.1:{self.port}/oauth/token"
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": audience, "exp": now + _ASSERTION_SECONDS, "jti": str(uuid4())}
        assertion = jwt.encode({"alg": "ES384", "kid": self.key.kid, "typ": "JWT"}, claims, self.key, algorithms=["ES384"])
        form = {
            "grant_type": "client_credentials",
            "scope": SCOPES[self.client_id],
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion,
        }
        return urlencode(form).encode()

    def authorization(self) -> dict[str, str]:
        """The header with a new token: one lasts five minutes, longer than any case."""
        answer = ask("POST", "/oauth/token", self.port, {"Content-Type": FORM}, self.token_form())
        return {"Authorization": f"Bearer {json.loads(answer)['access_token']}"}


def make_people(folder: Path) -> dict[str, Person]:
    """Keys for everybody, and the parties file beside them in a folder."""
    example = (ROOT / "docs/example/parties.toml").read_text(encoding="utf-8")
    (folder / "parties.toml").write_text(f"{example}{EMERGENCY}", encoding="utf-8")
    people = {}
    for client_id in SCOPES:
        key = ECKey.generate_key("P-384", auto_kid=True)
        (folder / f"{client_id}.jwks.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}), encoding="utf-8")
        people[client_id] = Person(client_id, key)
    return people


def a_message() -> bytes:
    """The published example of rms-diversion, of another person and under another number each time."""
    number = next(_numbers)
    message: dict[str, Any] = copy.deepcopy(mappings.load("rms-diversion").schema["examples"][0])
    message["request_number"] = f"BENCH-{number:07d}"
    message["person"]["identifier"] = f"BENCH-P-{number:07d}"
    message["person"]["name"]["family"] = f"Marsh-{number}"
    return json.dumps(message).encode()


def an_eido() -> bytes:
    """The published incident with a person, a caller and a note, of another person and another incident each time."""
    number = next(_numbers)
    eido: dict[str, Any] = copy.deepcopy(mappings.load("eido").schema["examples"][1])
    eido["$id"] = f"urn:emergency:uid:incidentid:bench{number:07d}:911.riverton-county.example"
    eido["callComponent"][0]["$id"] = f"urn:emergency:uid:callid:bench{number:07d}:911.riverton-county.example"
    name = eido["personComponent"][0]["ncPersonComponent"]["name"][0]
    name["personSurName"][0]["value"] = f"Marsh-{number}"
    return json.dumps(eido).encode()
