"""Who takes part: one file, applied again and again, every fault of it named at once and nothing half-applied."""

from __future__ import annotations

import json
import warnings

import pytest
from joserfc.jwk import ECKey, RSAKey

from gateway.commands.parties import apply_parties
from gateway.referral.directory import PartiesRefused
from gateway.store import registry

GOOD = """
[organization.riverton-police]
name = "Riverton Police Department"
postures = ["criminal_justice_agency"]

[organization.northside-clinic]
name = "Northside Crisis Clinic"
postures = ["covered_entity"]
services = ["crisis-stabilization"]
channel = { kind = "fhir-rest", address = "https://ehr.northside.example/fhir" }

[client.riverton-rms]
organization = "riverton-police"
jwks = "rms.jwks.json"
scopes = "__gateway.intake.rms-diversion"
purposes = ["COC"]
callback = { address = "https://rms.riverton.example/diversion-status" }

[client.northside-ehr]
organization = "northside-clinic"
jwks = "https://ehr.northside.example/jwks.json"
scopes = "system/Task.rus system/Patient.rs"
purposes = ["TREAT"]
"""


def write(folder, text=GOOD, key=None):
    made = key or ECKey.generate_key("P-384", auto_kid=True)
    (folder / "rms.jwks.json").write_text(json.dumps({"keys": [made.as_dict(private=False)]}))
    file = folder / "parties.toml"
    file.write_text(text)
    return file


def applied(gateway, file, **more):
    return [str(change).split() for change in apply_parties(gateway.services.database, file, **more)]


def refused(gateway, file):
    with pytest.raises(PartiesRefused) as caught:
        apply_parties(gateway.services.database, file)
    return "\n".join(caught.value.faults)


def test_a_file_that_is_applied_again_changes_nothing(gateway, tmp_path):
    file = write(tmp_path)
    first = applied(gateway, file)
    assert [change[:3] for change in first][1:3] == [["changes", "organization", "northside-clinic:"], ["adds", "client", "riverton-rms"]]
    assert {change[0] for change in applied(gateway, file)} == {"leaves"}


def test_what_the_file_leaves_out_stays(gateway, tmp_path):
    applied(gateway, write(tmp_path))
    with gateway.services.database.read() as unit:
        assert registry.find_organization(unit, "alder-case-management") is not None
        assert registry.client_of(unit, "alder-ehr") is not None


def test_a_dry_run_says_the_same_and_changes_nothing(gateway, tmp_path):
    file = write(tmp_path)
    said = applied(gateway, file, dry_run=True)
    assert said == applied(gateway, file)


def test_what_changed_is_named_by_field(gateway, tmp_path):
    applied(gateway, write(tmp_path))
    changed = write(
        tmp_path,
        GOOD.replace('services = ["crisis-stabilization"]', 'services = ["sobering"]').replace(
            'purposes = ["COC"]', 'purposes = ["COC", "TREAT"]'
        ),
    )
    said = {" ".join(change) for change in applied(gateway, changed) if change[0] == "changes"}
    assert "changes organization northside-clinic: services" in said
    assert any(line.startswith("changes client riverton-rms:") and "purposes" in line for line in said)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('["criminal_justice_agency"]', '["police"]', "organization.riverton-police.postures: police not known"),
        ('["crisis-stabilization"]', '["spa"]', "organization.northside-clinic.services: spa not known"),
        ('"fhir-rest"', '"fax"', "organization.northside-clinic.channel.kind: fax not known"),
        (
            "https://ehr.northside.example/fhir",
            "http://ehr.northside.example/fhir",
            "organization.northside-clinic.channel.address: this address is not called (scheme)",
        ),
        ("https://rms.riverton.example/diversion-status", "ftp://x/y", "client.riverton-rms.callback: this address is not called"),
        ('["COC"]', '["FUN"]', "client.riverton-rms.purposes: FUN not known"),
        ('["COC"]', "[]", "client.riverton-rms.purposes: needs to be a list of codes"),
        ("system/Task.rus", "system/Unicorn.rus", "client.northside-ehr.scopes"),
        ("__gateway.intake.rms-diversion", "__gateway.intake.fax", "client.riverton-rms.scopes"),
        ('"rms.jwks.json"', '"nowhere.json"', "client.riverton-rms.jwks: nowhere.json"),
        ('name = "Northside Crisis Clinic"', "", "organization.northside-clinic.name: needs to be text"),
        ('organization = "riverton-police"', 'organization = "nowhere"', "client.riverton-rms.organization: nowhere is not registered"),
        ("[organization.riverton-police]", "[organization.'a b']", "organization.a b: a key is"),
        ("[client.riverton-rms]", "[client.riverton-rms]\nshoe_size = 44", "client.riverton-rms.shoe_size: not known"),
        ("[organization.riverton-police]", "[organisation.riverton-police]", "organisation: not known"),
        ("[organization.riverton-police]", "[organization.riverton-police", "not TOML"),
    ],
)
def test_a_fault_of_the_file_is_named_with_its_place_and_nothing_is_applied(gateway, tmp_path, old, new, said):
    file = write(tmp_path, GOOD.replace(old, new))
    assert said in refused(gateway, file)
    with gateway.services.database.read() as unit:
        assert registry.client_of(unit, "riverton-rms") is None


def test_every_fault_is_named_at_once(gateway, tmp_path):
    text = (
        GOOD.replace('["criminal_justice_agency"]', '["police"]').replace('["COC"]', '["FUN"]').replace('"rms.jwks.json"', '"nowhere.json"')
    )
    assert len(refused(gateway, write(tmp_path, text)).splitlines()) == 3


def weak_keys():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            ECKey.generate_key("P-521", auto_kid=True),
            ECKey.generate_key("secp256k1", auto_kid=True),
            RSAKey.generate_key(1024, auto_kid=True),
        ]


@pytest.mark.parametrize("key", weak_keys(), ids=["P-521", "secp256k1", "RSA 1024"])
def test_a_weak_or_unknown_kind_of_key_is_refused(gateway, tmp_path, key):
    assert "client.riverton-rms.jwks" in refused(gateway, write(tmp_path, key=key))


def test_a_private_key_is_refused_and_not_repeated(gateway, tmp_path):
    file = write(tmp_path)
    key = ECKey.generate_key("P-384", auto_kid=True).as_dict(private=True)
    (tmp_path / "rms.jwks.json").write_text(json.dumps({"keys": [key]}))
    said = refused(gateway, file)
    assert "client.riverton-rms.jwks" in said
    assert key["d"] not in said


def test_an_organisation_whose_postures_change_loses_what_it_may_not_have_any_more(gateway, tmp_path):
    gateway.refer()
    task = gateway.as_alder_ehr.the_task()
    file = tmp_path / "changed.toml"
    file.write_text('[organization.alder-case-management]\nname = "Alder"\npostures = ["criminal_justice_agency"]\n')
    apply_parties(gateway.services.database, file)
    assert gateway.as_alder_ehr.get(f"/fhir/{task['for']['reference']}").status_code == 404
