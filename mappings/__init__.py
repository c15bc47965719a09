"""Translations from what senders speak to FHIR R4: tables and code maps as data, and the engine that applies them.

Imports nothing of the gateway. `load("rms-diversion").apply(message)` is the whole of it.
"""

from __future__ import annotations

from mappings.engine import Format
from mappings.loading import data_class, formats, load
from mappings.model import MapIssue, Mapped, MappingDefect, TraceRow

__all__ = ["Format", "MapIssue", "Mapped", "MappingDefect", "TraceRow", "data_class", "formats", "load"]
