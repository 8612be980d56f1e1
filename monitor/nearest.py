"""The name that somebody probably meant who gave one that is not there."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 256  # characters that are compared: no name is longer, and it takes as long as the product of both
COMPARED = 2000  # names


def nearest(text: str, known: Iterable[str], alike: float = 0.6) -> str | None:
    """The one of `known` that is most like a text; None where none is like it.

    Capitals do not tell names apart, for people who type them.

    Args:
        alike: share of letters that both have in the same order (Ratcliff and Obershelp's, as difflib has it): with 0.6
            three letters of five are right; with 0.7 two of five have changed places; with 0.5 one of two is wrong.
    """
    lower = {name.lower(): name for name in list(known)[:COMPARED]}
    near = get_close_matches(text[:LONGEST].lower(), lower, n=1, cutoff=alike)
    return lower[near[0]] if near else None
