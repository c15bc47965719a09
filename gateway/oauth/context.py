"""Who is calling: what one access token stands for, as every layer below the doors is handed it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.oauth.scopes import Scopes


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid access token in one request.

    organization: key of the organisation the client speaks for; postures: what that is, as registered now. purpose: the one
    v3 ActReason code the token is bound to. scopes: what was granted. token_id: names the token in logs, and is not it.
    """

    client_id: str
    organization: str
    organization_name: str
    postures: frozenset[str]
    purpose: str
    scopes: Scopes
    token_id: str
    request_id: str
