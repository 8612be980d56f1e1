"""Days and weeks that a model's shorter windows make up: of its reference, and those that end with a window."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from monitor.clock import DAY
from monitor.evaluate import windows
from monitor.stats.binning import Binning
from monitor.stats.profile import Profile, merge

LONGER = {"day": DAY, "week": 7 * DAY}  # windows beside the model's own, where these are shorter
LEAST = 14  # of them that a reference must have


def together(
    binning: Binning,
    profiles: Sequence[Profile],
    starts: Sequence[int],
    unit: int | None,
    timezone: str,
    without: Sequence[tuple[int, int]] = (),
) -> dict[str, tuple[list[Profile], list[int]]]:
    """The reference's windows as longer ones: (profiles, starts) by name, of those lengths that it has enough of.

    Only whole ones: not the first and last of the stretch where it does not cover them, nor those of which a stretch
    was left out.
    """
    found: dict[str, tuple[list[Profile], list[int]]] = {}
    for name, length in LONGER.items() if unit is not None and len(starts) else ():
        assert unit is not None
        if length <= unit or len(starts) * unit < LEAST * length // 2:
            continue
        begins = windows.starts_of(np.asarray(starts, np.int64), length, timezone)
        merged: list[Profile] = []
        kept: list[int] = []
        for begin, group in groupby(range(len(starts)), key=lambda place: int(begins[place])):
            places = list(group)
            end = windows.next_start(begin, length, timezone)
            whole = starts[places[0]] == begin or places[0] > 0
            whole = whole and (starts[places[-1]] + unit >= end or places[-1] < len(starts) - 1)
            if whole and not any(low < end and high > begin for low, high in without):
                merged.append(merge(binning, [profiles[place] for place in places]))
                kept.append(begin)
        if len(merged) >= LEAST:
            found[name] = merged, kept
    return found


def ending(names: Sequence[str], end: int, timezone: str) -> Iterator[tuple[str, int]]:
    """The longer windows of these names that end at an instant: name and start."""
    for name in names:
        if windows.is_boundary(end, LONGER[name], timezone):
            yield name, windows.start_of(end - 1, LONGER[name], timezone)
