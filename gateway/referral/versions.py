"""Which version of its key a message is: by its own number, or, where a format merges, by what its parts' time stamps change.

A format with revisions is ordered by them. One that merges keeps what is known as one message, numbered here with each change; what
came too late to count is kept as it came, under 0 and downwards, so that the highest number is always what holds.
Decides on what is stored; writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import mappings
from gateway.errors import DuplicateKey
from gateway.referral.reading import Taken, understand
from gateway.store.messages import Message
from mappings.readers.reader import Merge
from profiles.engine import Validator
from profiles.issues import Issue
from profiles.strict_json import parse_json

OTHER_CONTENT: Final = "This component was already sent with the same lastUpdateTimeStamp and other content."


class Overtaken(Exception):
    """Another message of the key was kept since this one was merged with what was known; merge again."""


@dataclass(frozen=True, slots=True)
class Version:
    """A message at its place among those of its key.

    taken: what is kept of it, and what it means. is_kept: whether it says something that is not stored yet. counts: whether it is
    what the sender now says. base: number of the version it was merged with, 0 for none; None where numbers come with the message.
    late: the message as it came, where part of it is older than what is known and it is to be kept for that.
    """

    taken: Taken
    is_kept: bool = True
    counts: bool = True
    base: int | None = None
    late: Taken | None = None


def prepare(validator: Validator, known: Sequence[Message], taken: Taken) -> Version:
    """What a message of a format that merges makes of what is known. Raises DuplicateKey, naming the components, and Invalid.

    known: as read before the write section, where this is too long to be done.
    """
    if not known:
        return Version(replace(taken, revision=1), base=0)
    form, newest = mappings.load(taken.format), known[-1]
    merged = form.merge(parse_json(newest.body.encode()) if newest.kept else {}, taken.source)
    if merged.conflicts:
        raise DuplicateKey(Issue("error", "duplicate", OTHER_CONTENT, (), pointer) for pointer in merged.conflicts)
    late = taken if merged.older else None
    if not merged.changed:
        return Version(replace(taken, revision=newest.revision), is_kept=False, counts=False, base=newest.revision, late=late)
    cuts = _cuts_of(merged, newest, taken)
    whole = understand(validator, form, merged.message, cuts, strict=False)
    return Version(replace(whole, revision=newest.revision + 1), base=newest.revision, late=late)


def _cuts_of(merged: Merge, newest: Message, taken: Taken) -> list[tuple[str, str]]:
    """Where something was cut out of the merged message: in what was known, unless it was replaced, and in what is new."""
    cuts = [(pointer, digest) for pointer, digest in newest.cuts if not any(_within(pointer, place) for place in merged.taken.values())]
    for pointer, digest in taken.cuts:
        head = next((sent for sent in merged.taken if _within(pointer, sent)), None)
        if head is not None:
            cuts.append((merged.taken[head] + pointer.removeprefix(head), digest))
    return cuts


def _within(pointer: str, head: str) -> bool:
    return pointer == head or pointer.startswith(f"{head}/")


def place_among(known: Sequence[Message], version: Version, key_field: str) -> Version:
    """A message where it stands now that its key is locked. Raises DuplicateKey, or Overtaken.

    known: every version that is stored. key_field: of the format, for the refusal.
    """
    if version.base is not None:
        if version.base != max((message.revision for message in known), default=0):
            raise Overtaken
        return replace(version, late=_numbered(version.late, known))
    same = next((message for message in known if message.revision == version.taken.revision), None)
    if same is not None and same.content_sha256 != version.taken.sha256:
        raise DuplicateKey((Issue("error", "duplicate", DuplicateKey.text, (), key_field),))
    newest = max((message.revision for message in known), default=0)
    return replace(version, is_kept=same is None, counts=version.taken.revision > newest)


def _numbered(late: Taken | None, known: Sequence[Message]) -> Taken | None:
    """A message that came too late under the next number below the versions; None where the very same is stored already."""
    if late is None or any(message.content_sha256 == late.sha256 for message in known):
        return None
    return replace(late, revision=min(0, min(message.revision for message in known) - 1))
