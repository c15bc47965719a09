"""Security labels of a resource as the policy reads them. Labels a client sends permit nothing; an unknown one denies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def labels_of(resource: Mapping[str, Any]) -> frozenset[str]:
    """The labels of meta.security as "system|code". A label without system or code is kept as it is: known to no row."""
    meta = resource.get("meta")
    labels = meta.get("security") if isinstance(meta, Mapping) else None
    return frozenset(
        f"{label.get('system', '')}|{label.get('code', '')}"
        for label in (labels if isinstance(labels, list) else [])
        if isinstance(label, Mapping)
    )


def with_obligations(resource: dict[str, Any], obligations: Iterable[str]) -> dict[str, Any]:
    """The resource carrying these v3-ActCode obligations in meta.security, beside what it has."""
    labels = labels_of(resource)
    added = [{"system": ACT_CODE, "code": code} for code in sorted(obligations) if f"{ACT_CODE}|{code}" not in labels]
    if not added:
        return resource
    meta = dict(resource.get("meta") or {})
    return {**resource, "meta": {**meta, "security": [*(meta.get("security") or []), *added]}}
