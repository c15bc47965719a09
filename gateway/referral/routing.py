"""Which service a referral is offered to next: hard stops first, then the first row that holds.

Pure: reads the routing inputs a mapping produced and the protocol; unknown on a safety input counts as unsafe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.referral.protocol import Protocol


@dataclass(frozen=True, slots=True)
class RoutingDecision:
    """What the protocol says to one input snapshot; it can be replayed from `inputs` and `protocol`."""

    rule: str
    protocol: str
    targets: tuple[str, ...]
    stopped: bool
    reason: str
    inputs: Mapping[str, str]
    next: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The shape it is stored in."""
        return {
            "rule": self.rule,
            "protocol": self.protocol,
            "targets": list(self.targets),
            "stopped": self.stopped,
            "reason": self.reason,
            "inputs": dict(self.inputs),
        }


def _excluded(protocol: Protocol, answers: Mapping[str, str]) -> str:
    """The worst answer over the protocol's exclusions; one that was not answered is unknown."""
    given = [answers.get(criterion, "unknown") for criterion in protocol.exclusions]
    if "yes" in given:
        return "yes"
    return "no" if all(answer in ("no", "overridden") for answer in given) else "unknown"


def inputs_of(protocol: Protocol, routing: Mapping[str, Any]) -> dict[str, str]:
    """Reduce what the mapping found to the protocol's inputs; what was not answered, or is no value of the protocol, is unknown.

    Beside what is asked of every message, `inputs` of the routing holds what one format can say. The last value of an input is
    the one that counts where nothing was said.
    """
    found = {
        "door": str(routing.get("door", "")),
        "agreement_to_talk": str(routing.get("agreement_to_talk") or "unknown"),
        "excluded": _excluded(protocol, routing.get("exclusions") or {}),
        "medical_emergency": str((routing.get("safety") or {}).get("medical-emergency") or "unknown"),
        **{str(name): str(value) for name, value in (routing.get("inputs") or {}).items()},
    }
    return {name: found[name] if found.get(name) in values else values[-1] for name, values in protocol.inputs.items()}


def decide(protocol: Protocol, routing: Mapping[str, Any]) -> RoutingDecision:
    """Apply the protocol to one message's routing inputs.

    routing: `Mapped.routing` of the message. A message that names services gets the named ones the
    protocol offers, in the protocol's order; one that names none of them gets the protocol's own list.
    """
    inputs = inputs_of(protocol, routing)
    rule = next(rule for rule in (*protocol.hard_stops, *protocol.rows) if rule.holds(inputs))
    stopped = rule in protocol.hard_stops
    wanted = set(routing.get("services_requested") or ())
    targets = tuple(target for target in rule.targets if target in wanted) or rule.targets
    return RoutingDecision(rule.id, protocol.reference, targets, stopped, rule.reason, inputs, rule.next)


def next_step(protocol: Protocol, routing: Mapping[str, Any], entered_at: datetime) -> dict[str, Any]:
    """The `next` of a receipt: a function of the sender's own message and the protocol version, of nothing else."""
    decision = decide(protocol, routing)
    door = decision.inputs["door"]
    step: dict[str, Any] = {"instruction": protocol.stopped_next if decision.stopped else decision.next or protocol.next_by_door[door]}
    if decision.stopped:
        step["reason"] = decision.reason
    handoff = routing.get("warm_handoff") or {}
    for source, target in (("wait_location", "wait_at"), ("wait_until", "wait_until"), ("phone", "call")):
        if handoff.get("requested") and handoff.get(source):
            step[target] = handoff[source]
    if protocol.drop_off:
        step["drop_off"] = list(protocol.drop_off)
    step["final_time"] = (entered_at + protocol.final_after).isoformat(timespec="seconds")
    step["protocol"] = protocol.reference
    return step
