"""`GET /referrals/<receipt>` and `POST /referrals/<receipt>/cancel`: the sender's own view of what it sent."""

from __future__ import annotations

from flask import Blueprint, Response

from gateway.referral.cancel import cancel
from gateway.referral.sender_view import read_view
from gateway.web.guard import caller, door
from gateway.web.intake import services
from gateway.web.outcomes import render

blueprint = Blueprint("referrals", __name__)
OWN_RECEIPTS = "__gateway.intake."  # any intake scope includes reading one's own receipts


@blueprint.get("/referrals/<receipt>")
@door(own_prefix=OWN_RECEIPTS)
def read(receipt: str) -> Response:
    """Answer the sender's view as it is now."""
    return render(read_view(services(), caller(), receipt))


@blueprint.post("/referrals/<receipt>/cancel")
@door(own_prefix=OWN_RECEIPTS)
def withdraw(receipt: str) -> Response:
    """Take the referral back."""
    return render(cancel(services(), caller(), receipt))
