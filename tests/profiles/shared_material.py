"""Where HL7's own material lies when the repository stands beside it; tests that need it are skipped elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
needs_shared = pytest.mark.skipif(
    not (SHARED / "fhir").is_dir(), reason="HL7's packages and test cases (../shared/fhir) are not on this machine"
)
