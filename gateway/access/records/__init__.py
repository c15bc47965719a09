"""The one door: every resource is written, held and disclosed through here, and nothing else makes a `Disclosed`.

All functions that take `unit` first belong to the caller's unit of work; `read` and `search` open their own. Nothing here
commits. What returns `Held` cannot be rendered; what returns `Disclosed` has been decided and audited.
"""

from __future__ import annotations

from gateway.access.disclosed import ConsentState, Disclosed, Held, Reader, VersionedId, ViewPermit, Withheld
from gateway.access.records.leaving import (
    audit_offer,
    consent_state,
    disclose_bundle,
    disclose_dry_run,
    disclose_ledger,
    disclose_view,
    disclose_written,
    redact_all_for,
    redact_for,
    view_permit,
)
from gateway.access.records.parties import close_parties, grant_organization, open_parties, publish_organization
from gateway.access.records.permits import rebuild_visible
from gateway.access.records.reading import SearchRequest, VisibilityFault, read, search, served_to
from gateway.access.records.writing import (
    Draft,
    attach,
    create,
    create_all,
    hold,
    hold_all,
    hold_by_identifier,
    hold_copies,
    hold_copy,
    hold_each,
    referrals_of_person,
    replace,
    require,
)

__all__ = [
    "ConsentState",
    "Disclosed",
    "Draft",
    "Held",
    "Reader",
    "SearchRequest",
    "VersionedId",
    "ViewPermit",
    "VisibilityFault",
    "Withheld",
    "attach",
    "audit_offer",
    "close_parties",
    "consent_state",
    "create",
    "create_all",
    "disclose_bundle",
    "disclose_dry_run",
    "disclose_ledger",
    "disclose_view",
    "disclose_written",
    "grant_organization",
    "hold",
    "hold_all",
    "hold_by_identifier",
    "hold_copies",
    "hold_copy",
    "hold_each",
    "open_parties",
    "publish_organization",
    "read",
    "rebuild_visible",
    "redact_all_for",
    "redact_for",
    "referrals_of_person",
    "replace",
    "require",
    "search",
    "served_to",
    "view_permit",
]
