"""Two thousand damaged messages: each is refused in the gateway's own words, or accepted and valid. The seed is fixed."""

from __future__ import annotations

import copy
import json
import random

import pytest

from gateway.errors import Failure, Invalid
from tests.mappings.messages import EXAMPLES, errors_of, nodes, take

SEED, BATCHES, MESSAGES = 988, 8, 250

ODD = [
    *(None, True, False, 0, -1, 1, 10**30, 1.5, 1e308, [], {}, [[]], [{}], {"": ""}, ["a", "a"]),
    *("", "  ", "x" * 9000, "\u0000", "\u2028", "\u0085a", "a\u00a0", "e\u0301", "\U0001f600", "\ufeffa", "x\u200b", "\u3000"),
    *("2026-02-30", "2026-02-28", "0000-01-01", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "2026-11-24T24:00:00Z"),
    *("2026-11-24T02:14:60Z", "2026-11-24T02:14:00+23:59", "2026-11-24T02:14:00.123456789Z", "2026", "1800-01", "yes", "no", "unknown"),
    *("urn:local:patient", " urn:local:x", "sender", "http://x", "YQ==", "<b>", "'; --", "%s%n", "{}", "\\u0000"),
]
NAMES = ["x", "urn:local:q", "a/b", "~", "value", "status", "resourceType", "__class__", ""]
INSERTED = [" ", "0", "\n", "\u00a0", "Z", "-", "é", "\t", "'", '"', "<b>", "5"]


def one_change(message, rng):
    steps = rng.choice([steps for steps, _ in nodes(message) if steps] or [()])
    if not steps:
        return
    holder = message
    for step in steps[:-1]:
        holder = holder[step]
    last, kind = steps[-1], rng.choice(("drop", "odd", "odd", "move", "name", "repeat", "insert"))
    if kind == "drop":
        del holder[last]
    elif kind == "odd":
        holder[last] = copy.deepcopy(rng.choice(ODD))
    elif kind == "move":
        holder[last] = copy.deepcopy(rng.choice([node for _, node in nodes(message)]))
    elif kind == "name" and isinstance(holder, dict):
        holder[rng.choice(NAMES)] = copy.deepcopy(rng.choice(ODD))
    elif kind == "repeat" and isinstance(holder, list):
        holder.extend(copy.deepcopy(holder[last]) for _ in range(rng.choice((1, 3, 40))))
    elif kind == "insert" and isinstance(holder[last], str):
        text, place = holder[last], rng.randrange(len(holder[last]) + 1)
        holder[last] = text[:place] + rng.choice(INSERTED) + text[place:]


def damaged(rng):
    message = copy.deepcopy(rng.choice(EXAMPLES))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        one_change(message, rng)
    return message


def require_told_well(failure):
    assert failure.issues
    for issue in failure.issues:
        assert issue.text
        if type(failure) is Invalid:
            assert issue.source is not None


def require_good(taken):
    local = {f"urn:local:{name}" for name in taken.mapped.resources} | {"urn:local:sender"}
    for resource in taken.mapped.resources.values():
        assert errors_of(resource) == []
        assert {node for _, node in nodes(resource) if isinstance(node, str) and node.startswith("urn:local:")} <= local


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_damaged_message_is_refused_in_our_words_or_accepted_and_valid(batch):
    rng = random.Random(SEED + batch)
    accepted = 0
    for _ in range(MESSAGES):
        message, strict = damaged(rng), rng.random() < 0.3
        try:
            taken = take(message, strict=strict)
        except Failure as failure:
            require_told_well(failure)
        else:
            require_good(taken)
            accepted += 1
    assert 0 < accepted < MESSAGES


@pytest.mark.parametrize("batch", range(4))
def test_damaged_bytes_are_refused_in_our_words_or_accepted_and_valid(batch):
    rng = random.Random(SEED + batch)
    for _ in range(MESSAGES // 2):
        body = bytearray(json.dumps(rng.choice(EXAMPLES), ensure_ascii=False).encode())
        for _ in range(rng.choice((1, 2, 8))):
            body[rng.randrange(len(body))] = rng.choice(b'{}[]",:0123456789-+.eE\\u\x00\x80\xff tfn')
        try:
            taken = take(bytes(body))
        except Failure as failure:
            require_told_well(failure)
        else:
            require_good(taken)
