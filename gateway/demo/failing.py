"""The one way a demo ends early."""

from __future__ import annotations


class DemoFailed(Exception):
    """A step of the demo did not do what it should; the text says which and what was seen instead."""
