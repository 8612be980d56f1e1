"""Cursors of lists that are ordered by a time and an id: the place of the last item, as an opaque token."""

import base64
import binascii

from monitor.errors import Invalid

_LARGEST = 2**63 - 1


def token(place: tuple[int, str] | None) -> str | None:
    """The `next_cursor` of a page whose last item stands at that place; None after the last page."""
    if place is None:
        return None
    return base64.urlsafe_b64encode(f"{place[0]}:{place[1]}".encode()).decode().rstrip("=")


def place(cursor: str | None) -> tuple[int, str] | None:
    """The place that a cursor stands for.

    Raises:
        Invalid: it is none of ours.
    """
    if cursor is None:
        return None
    try:
        at, separator, item = (
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode().partition(":")
        )
        found = int(at), item
    except (binascii.Error, ValueError):
        raise Invalid.field("cursor", "is not a next_cursor of this list") from None
    if not separator or "\0" in item or abs(found[0]) > _LARGEST:
        raise Invalid.field("cursor", "is not a next_cursor of this list")
    return found
