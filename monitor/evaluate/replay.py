"""Back-tests of the alert budget: the model's own detectors over its stored history, under another budget.

The same judge as in the evaluation, from a fresh start, against the references that hold now. As `backtest` says, the
history is played as it was and as it is known now; until the first window that has changed since, both are one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.engine import Connection

from monitor.evaluate import judge
from monitor.evaluate.backtest import Episode, Played, Tell
from monitor.evaluate.due import KINDS, Kind
from monitor.evaluate.history import CHUNK, Past, spans, walk
from monitor.evaluate.loaded import Reference
from monitor.evaluate.longer import ending
from monitor.evaluate.run import baseline_of
from monitor.stats.detector import Memory
from monitor.stats.profile import Profile, empty
from monitor.stats.verdict import Verdict
from monitor.store import events, profiles
from monitor.store.catalog import Model


def replay_budget(
    connection: Connection,
    model: Model,
    false_alarms: float,
    per: str,
    from_at: int,
    to_at: int,
    now: int,
    tell: Tell = lambda _: None,
) -> Played:
    """Play a budget over the windows of [from_at, to_at) that were due by `now`; windows of a reference are left out.

    Raises:
        Invalid: the stretch has too many windows.
    """
    model = replace(model, config=replace(model.config, false_alarms=false_alarms, per=per))
    played = Played()
    seen: set[int] = set()
    late: set[int] = set()
    unknown: set[int] = set()
    listed = {kind: spans(connection, model, kind, from_at, to_at, now) for kind in KINDS}
    total, done = sum(len(one) for one in listed.values()), 0
    for kind in KINDS:
        run = _Run(connection, model, kind)
        for past in walk(connection, model, kind, listed[kind]):
            if run.take(past):
                seen.add(past.start)
                late |= {past.start} if past.late else set()
                unknown |= {past.start} if past.late and not past.kept else set()
            done += 1
            if done % CHUNK == 0:
                tell(done / total)
        played.then += run.then.episodes
        played.now += run.then.episodes if run.now is None else run.now.episodes
    played.then.sort(key=lambda one: one.opened_at)
    played.windows, played.late, played.unknown = len(seen), len(late), len(unknown)
    return played


@dataclass
class _Track:
    """The detectors of one run, and the episodes they came to."""

    states: dict[str, Memory] = field(default_factory=dict)
    episodes: list[Episode] = field(default_factory=list)

    def copy(self) -> "_Track":
        return _Track(dict(self.states), [replace(one) for one in self.episodes])

    def take(
        self, base: judge.Baseline, profile: Profile, kind: Kind, past: Past, longer: Sequence[judge.Longer]
    ) -> None:
        verdicts, after = judge.take(base, profile, self.states, kind, past.start, past.end, longer)
        self.states.update(after)
        self._note(verdicts, past)

    def _note(self, verdicts: Sequence[Verdict], past: Past) -> None:
        for one in verdicts:
            if one.action == "open":
                text = one.causes[0].text if one.causes else ""
                self.episodes.append(Episode(one.family, past.at, one.first_evidence_at, None, text))
            elif one.action == "resolve":
                mine = [episode for episode in self.episodes if episode.family == one.family]
                if mine and mine[-1].resolved_at is None:
                    mine[-1].resolved_at, mine[-1].over_at = past.at, past.start


class _Run:
    """The windows of one kind, as they were and as they are known now."""

    def __init__(self, connection: Connection, model: Model, kind: Kind) -> None:
        self._connection, self._model, self._kind = connection, model, kind
        self._newest = profiles.current_number(connection, model.id)
        self._bad = events.known_bad(connection, model.id)
        self.then = _Track()
        self.now: _Track | None = None  # as long as it is the same

    def take(self, past: Past) -> bool:
        """Judge a window; False where there is nothing to judge it against."""
        then = past.then(self._connection)
        reference = self._reference(past, then)
        if reference is None or (reference.until is not None and past.start < reference.until):
            return False
        base = baseline_of(reference, self._model.config)
        if self.now is None and past.late and past.kept:
            self.now = self.then.copy()
        if self.now is not None:
            known = past.now()
            same = known is None or known.binning is reference.binning
            window = known if known is not None and same else _or_empty(then, reference)
            self.now.take(base, window, self._kind, past, self._longer(past, reference, base, None))
        self.then.take(base, _or_empty(then, reference), self._kind, past, self._longer(past, reference, base, past.at))
        return True

    def _longer(self, past: Past, reference: Reference, base: judge.Baseline, as_of: int | None) -> list[judge.Longer]:
        """The days and weeks that end with a window, as evaluation takes them; known by `as_of`, or now."""
        found = []
        for name, start in ending(list(base.longer), past.end, self._model.config.timezone):
            if (reference.until is not None and start < reference.until) or events.touches(self._bad, start, past.end):
                continue
            whole = replace(past, start=start, late=as_of is not None and past.late_from(start))
            profile = whole.now() if as_of is None else whole.then(self._connection)
            if profile is None or profile.binning is reference.binning:
                found.append(judge.Longer(name, profile or empty(reference.binning), start, past.end))
        return found

    def _reference(self, past: Past, profile: Profile | None) -> Reference | None:
        number = self._newest if profile is None else profile.binning.number
        return past.shelf.reference(number) if number else None


def _or_empty(profile: Profile | None, reference: Reference) -> Profile:
    return empty(reference.binning) if profile is None else profile
