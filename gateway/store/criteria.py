"""The plain words in which a query is asked: for whom, which tokens, references and times. No SQL and no table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

ALWAYS: Final = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
BASE: Final = "base"


@dataclass(frozen=True, slots=True)
class Principal:
    """For whom a query is asked: every table it touches is joined to this one's permits."""

    organization: str
    purpose: str
    policy_epoch: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """An index row of `search_token`, or one wanted value: system None means any, code None means any of that system."""

    param: str
    system: str | None
    code: str | None
    element_class: str = BASE


@dataclass(frozen=True, slots=True)
class Reference:
    """An index row of `search_reference`, or one wanted target ("Type/id")."""

    param: str
    target: str
    element_class: str = BASE


@dataclass(frozen=True, slots=True)
class Span:
    """Wanted `_lastUpdated`: from (included) till (excluded); None is open."""

    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed search. `all_of`: entries are joined by AND, the values inside one by OR; an empty entry matches nothing.

    ids: each a set of wanted `_id`, joined by AND.
    """

    type: str
    all_of: tuple[Sequence[Token | Reference], ...] = ()
    spans: tuple[Span, ...] = ()
    ids: tuple[frozenset[str], ...] = ()
