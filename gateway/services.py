"""What every door is handed: settings, database, validator, keys, and the key sets of clients. Made once a process, in app.py."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.keys import KeyRing
from gateway.oauth.key_sets import KeySets
from gateway.settings import Settings
from gateway.store.database import Database
from profiles.engine import Validator


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one process."""

    settings: Settings
    database: Database
    validator: Validator
    keys: KeyRing
    key_sets: KeySets
