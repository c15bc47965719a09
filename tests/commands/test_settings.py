"""Settings that contradict each other are named together, before anything starts."""

from __future__ import annotations

import pytest

from gateway.settings import Settings, SettingsRefused


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"LEASE_SECONDS": "10", "CALL_SECONDS": "6"}, "CRISIS_GATEWAY_LEASE_SECONDS"),
        ({"CALL_SECONDS": "60"}, "CRISIS_GATEWAY_LEASE_SECONDS"),
        ({"CIRCUIT_FIRST_SECONDS": "100", "CIRCUIT_CAP_SECONDS": "99"}, "CRISIS_GATEWAY_CIRCUIT_CAP_SECONDS"),
        ({"RETRY_FIRST_SECONDS": "100", "RETRY_CAP_SECONDS": "99"}, "CRISIS_GATEWAY_RETRY_CAP_SECONDS"),
    ],
)
def test_times_that_cannot_stand_beside_each_other_are_refused(given, named):
    with pytest.raises(SettingsRefused) as refused:
        Settings.from_environment({f"CRISIS_GATEWAY_{name}": value for name, value in given.items()})
    assert [fault for fault in refused.value.faults if fault.startswith(named)] == list(refused.value.faults)


def test_a_lease_of_two_calls_is_enough():
    assert Settings.from_environment({"CRISIS_GATEWAY_LEASE_SECONDS": "12", "CRISIS_GATEWAY_CALL_SECONDS": "6"}).lease_seconds == 12
