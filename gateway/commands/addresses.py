"""What is wrong with an address that an operator registers, by the same rule that is held to when it is called."""

from __future__ import annotations

from collections.abc import Callable

from gateway.delivery.addresses import AddressRefused, require_address


def address_check(*, allow_private: bool) -> Callable[[str], str | None]:
    """The check for this gateway's settings: a word for what is wrong, None where nothing is."""

    def fault(address: str) -> str | None:
        try:
            require_address(address, allow_private=allow_private)
        except AddressRefused as refused:
            return refused.code
        return None

    return fault
