"""Back-tests of monitors by hand: what a rule would have done over the stored history, before it is saved.

The history is played twice. First as it was: each window with the numbers that were known when its evidence was due.
Then as it is known now, with late rows and late outcomes. A page of the first that overlaps none of the second would
have been for numbers that were not complete: it vanishes with late labels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Connection

from monitor import clock
from monitor.evaluate import payload
from monitor.evaluate.history import CHUNK, Past, spans, walk
from monitor.evaluate.loaded import binning_numbered
from monitor.evaluate.monitors import VOLUME, Reader, enough, is_plain, kind_of, to_reading, verdict_of
from monitor.stats.rule import Condition, Memory, Reading, Rule, Step, advance
from monitor.stats.values import Value
from monitor.store import evaluations
from monitor.store.catalog import Model
from monitor.store.evaluations import ERROR, Measurement

MOST_PAGES = 200  # that an answer lists
Tell = Callable[[float], None]


@dataclass
class Episode:
    """A page: when it would have been sent and its alert resolved (None: it goes on), in instants of due evidence;
    and the windows it was about, from `first_evidence_at` to `over_at`. `family` of budgets."""

    family: str
    opened_at: int
    first_evidence_at: int
    resolved_at: int | None
    text: str
    over_at: int | None = None


@dataclass
class Played:
    """What a setting came to over the windows, as it was and as it is known now.

    `late`: windows of which something became known after they gave their evidence; `unknown`: those of them whose rows
    are gone, so that they were played as they are known now.
    """

    windows: int = 0
    late: int = 0
    unknown: int = 0
    then: list[Episode] = field(default_factory=list)
    now: list[Episode] = field(default_factory=list)


def replay_rule(
    connection: Connection, model: Model, rule: Rule, from_at: int, to_at: int, now: int, tell: Tell = lambda _: None
) -> Played:
    """Play a rule over the windows of [from_at, to_at) whose numbers were final by `now`.

    Raises:
        Invalid: the stretch has too many windows.
    """
    kind = kind_of(rule)
    listed = spans(connection, model, kind, from_at, to_at, now)
    played, numbers = Played(), _Numbers(connection, model, rule, kind, listed)
    tracks = (_Track(rule, played.then), _Track(rule, played.now))
    for past in walk(connection, model, kind, listed):
        before, after, known = numbers.of(past)
        tracks[0].take(past, before)
        tracks[1].take(past, after)
        played.windows += 1
        played.late += past.late
        played.unknown += past.late and not known
        if played.windows % CHUNK == 0:
            tell(played.windows / len(listed))
    return played


class _Track:
    """One run of a rule, and the episodes it came to."""

    def __init__(self, rule: Rule, episodes: list[Episode]) -> None:
        self._rule, self._episodes, self._memory = rule, episodes, Memory()

    def take(self, past: Past, readings: Sequence[Reading]) -> None:
        before = self._memory
        self._memory, step = advance(self._rule, before, readings, past.start)
        if step.action == "open":
            text = _text(self._rule, step, readings, past)
            self._episodes.append(Episode("", past.at, step.since, None, text))
        elif step.action == "resolve":
            self._episodes[-1].resolved_at, self._episodes[-1].over_at = past.at, past.start


def _text(rule: Rule, step: Step, readings: Sequence[Reading], past: Past) -> str:
    verdict = verdict_of("", rule, step, readings, False, past.start, past.end)
    return "; ".join(cause.text for cause in verdict.causes)


class _Numbers:
    """The readings of a rule in past windows: from stored measurements and their revisions where these answer."""

    def __init__(
        self, connection: Connection, model: Model, rule: Rule, kind: str, listed: list[tuple[int, int]]
    ) -> None:
        self._connection, self._model, self._rule, self._kind = connection, model, rule, kind
        self._listed = listed
        self._next = 0
        self._revisions: dict[int, list[Measurement]] = {}
        self._given: dict[int, int] = {}
        self._places: dict[int, dict[str, int]] = {}
        self._plain = all(is_plain(one) for one in rule.conditions)

    def of(self, past: Past) -> tuple[tuple[Reading, ...], tuple[Reading, ...], bool]:
        """(readings as they were, as they are known now, whether the first are known)."""
        self._fetch(past.start)
        revisions = [one for one in self._revisions.get(past.start, ()) if one.end == past.end]
        after = self._read(past, revisions[-1] if revisions else None)
        if not past.late:
            return after, after, True
        given = self._given.get(past.start)
        stored = [one for one in revisions if given is not None and one.measured_at <= given]
        if self._plain and stored:
            return self._read(past, stored[-1]), after, True
        if not past.kept:
            return after, after, False
        reader = Reader(self._connection, self._model)
        return reader.read(self._rule, past.start, past.end, past.then(self._connection), past.at), after, True

    def _fetch(self, start: int) -> None:
        """Read the stored measurements of the chunk that a window is in."""
        while self._next < len(self._listed) and start >= self._listed[self._next][0]:
            chunk = self._listed[self._next : self._next + CHUNK]
            low, high = chunk[0][0], chunk[-1][0] + 1
            self._revisions = {}
            for one in evaluations.revisions_between(self._connection, self._model.id, low, high):
                self._revisions.setdefault(one.start, []).append(one)
            found = evaluations.evaluations(self._connection, self._model.id, low, high)
            self._given = {one.start: one.at for one in found if one.kind == self._kind}
            self._reader = Reader(self._connection, self._model)
            self._next += len(chunk)

    def _read(self, past: Past, row: Measurement | None) -> tuple[Reading, ...]:
        if row is None or ERROR in (row.inputs_state, row.performance_state):
            return self._reader.read(self._rule, past.start, past.end, past.now(), None)
        numbers = payload.load(row.payload)
        profile = None if self._plain else past.now()

        def known(condition: Condition) -> Reading | None:
            if not is_plain(condition):
                return None
            if numbers is None:
                return Reading(0.0) if condition.metric == VOLUME else Reading()
            value = numbers.values.get(condition.metric, Value())
            if condition.feature is not None:
                place = self._place(numbers.binning).get(condition.feature)
                value = Value() if place is None else numbers.columns[condition.metric].at(place)
            return enough(self._rule, condition, to_reading(value))

        return self._reader.read(self._rule, past.start, past.end, profile, None, known)

    def _place(self, number: int) -> dict[str, int]:
        if number not in self._places:
            binning = binning_numbered(self._connection, self._model.id, number)
            self._places[number] = {bins.name: place for place, bins in enumerate(binning.features)}
        return self._places[number]


# ---------------------------------------------------------------- the answer


def answer(played: Played, from_at: int, to_at: int) -> dict[str, Any]:
    """A back-test as it is shown: how often it would have paged, when, and what late labels change."""
    vanishing = [not _has_counterpart(one, played.now) for one in played.then]
    appearing = [one for one in played.now if not _has_counterpart(one, played.then)]
    pages = [{**_episode(one), "vanishes": vanishes} for one, vanishes in zip(played.then, vanishing, strict=True)]
    return {
        "from": clock.render(from_at),
        "to": clock.render(to_at),
        "windows": played.windows,
        "late_windows": played.late,
        "unknown_windows": played.unknown,
        "pages": len(pages),
        "vanishing": sum(vanishing),
        "appearing": len(appearing),
        "text": _sentence(len(pages), sum(vanishing), len(appearing), played),
        "episodes": pages[-MOST_PAGES:],
        "late_episodes": [_episode(one) for one in appearing[-MOST_PAGES:]],
    }


def _episode(one: Episode) -> dict[str, Any]:
    return {
        **({"family": one.family} if one.family else {}),
        "opened_at": clock.render(one.opened_at),
        "first_evidence_at": clock.render(one.first_evidence_at),
        "resolved_at": None if one.resolved_at is None else clock.render(one.resolved_at),
        "text": one.text,
    }


def _has_counterpart(one: Episode, others: Sequence[Episode]) -> bool:
    """Whether an episode of the other run, of the same family, is about some of the same windows."""
    end = one.over_at if one.over_at is not None else 1 << 62
    return any(
        other.family == one.family
        and other.first_evidence_at < end
        and (other.over_at is None or other.over_at > one.first_evidence_at)
        for other in others
    )


def _sentence(pages: int, vanishing: int, appearing: int, played: Played) -> str:
    if not played.windows:
        return "no window of this stretch has final numbers yet"
    if not pages:
        said = f"would not have paged in {played.windows:,} windows"
    else:
        said = "would have paged once" if pages == 1 else f"would have paged {pages:,} times"
        said += f" in {played.windows:,} windows"
        if vanishing:
            verb = "vanishes" if vanishing == 1 else "vanish"
            said += f"; {'it' if pages == 1 else f'{vanishing:,} of them'} {verb} with late labels"
    if appearing:
        said += f"; with late labels {appearing:,} more"
    if played.unknown:
        said += f"; of {played.unknown:,} windows nobody can tell any more what was known then"
    return said
