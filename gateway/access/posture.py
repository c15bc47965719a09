"""What an organisation may legally be, and for what it may ask. A word that is not here is unknown, and unknown denies."""

from __future__ import annotations

from typing import Final

POSTURES: Final = frozenset(
    {
        "covered_entity",
        "business_associate",
        "part2_program",
        "lawful_holder",
        "criminal_justice_agency",
        "emergency_dispatch",
        "state",
        "other",
    }
)

# The operator of the gateway is no party; the word is known in that one relation only.
OPERATOR: Final = "operator"

# v3-ActReason, each taken as it is: no subsumption, for BTG lies under TREAT there and HLEGAL under HOPERAT.
PURPOSES: Final = frozenset({"TREAT", "COC", "ETREAT", "BTG", "CAREMGT", "HOPERAT", "HPAYMT", "PUBHLTH", "HQUALIMP", "PATRQT"})

DATA_CLASSES: Final = frozenset(
    {
        "DEMO",
        "LOGI",
        "REFERRAL",
        "TASK",
        "CONSENT",
        "SAFETY",
        "PLACE",
        "PROVENANCE",
        "RELATED",
        "DIRECTORY",
        "SCREEN",
        "JUSTICE",
        "NOTES",
        "VIEW",
        "LEDGER",
        "DRYRUN",
    }
)


def known_postures(postures: frozenset[str], relation: str) -> bool:
    """Whether an organisation says what it is, in known words only."""
    if relation == "operator":
        return postures == {OPERATOR}
    return bool(postures) and postures <= POSTURES
