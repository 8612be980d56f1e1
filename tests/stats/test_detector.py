"""The detector: starts, alarms, causes, incidents, and the same decisions after every restart."""

import numpy as np
import pytest

from monitor.stats import detector, incident
from monitor.stats.detector import Watch, Window, advance, dump, fresh, load
from monitor.stats.learned import count_model, scalar_model

P = np.array([0.4, 0.3, 0.2, 0.1])
MOVED = np.array([0.2, 0.3, 0.2, 0.3])


def watch_of(rng, signals=4, scalars=1, threshold=300.0, rows=200, windows=28, minimum=20):
    blocks = [rng.multinomial(rows, P, windows).astype(float) for _ in range(signals)]
    counts = count_model([(block.sum(0), block) for block in blocks])
    measured = scalar_model([rng.normal(size=windows) for _ in range(scalars)], [4.0] * scalars, [0.0] * scalars)
    weights = np.full(signals + scalars, 1 / (signals + scalars))
    return Watch(counts, measured, weights, threshold, "m", minimum)


def window_of(rng, t, signals=4, scalars=1, rows=200, changed=(), shift=0.0):
    counts = [rng.multinomial(rows, MOVED if i in changed else P) for i in range(signals)]
    values = rng.normal(size=scalars) + shift
    return Window(t * 3600, (t + 1) * 3600, rows, np.concatenate(counts).astype(float), values)


def run(watch, windows, memory=None, restart=False):
    memory, steps = memory or fresh(watch), []
    for window in windows:
        memory, step = advance(watch, load(dump(memory)) if restart else memory, window)
        steps.append(step)
    return memory, steps


def story(rng):
    """30 clean windows, 10 with signal 2 changed, 15 clean ones."""
    return [window_of(rng, t, changed=(2,) if 30 <= t < 40 else ()) for t in range(55)]


def test_a_change_opens_one_alert_names_its_signal_and_resolves_when_it_ends():
    rng = np.random.default_rng(1)
    _, steps = run(watch_of(rng), story(rng))
    actions = [(t, step.action) for t, step in enumerate(steps) if step.action != "none"]
    assert [action for _, action in actions] == ["open", "resolve"]
    (opened, _), (resolved, _) = actions
    assert 30 <= opened <= 32 and 40 + incident.HOLD - 1 <= resolved <= 45
    assert [named.signal for named in steps[opened].named] == [2]
    assert steps[opened].begin == pytest.approx(30 * 3600, abs=2 * 3600)


def test_a_second_change_while_the_alert_is_open_updates_it_and_the_first_joins_no_more():
    rng = np.random.default_rng(2)
    changes = [() if t < 5 else (1,) if t < 15 else (1, 3) for t in range(30)]
    _, steps = run(watch_of(rng), [window_of(rng, t, changed=changed) for t, changed in enumerate(changes)])
    actions = [step.action for step in steps if step.action != "none"]
    assert actions == ["open", "update"]
    assert [step.alarm for step in steps].count(True) > 2


def test_later_alarms_of_an_incident_leave_the_first_evidence_of_a_signal_where_it_was():
    rng = np.random.default_rng(2)
    memory, steps = run(watch_of(rng), [window_of(rng, t, changed=(1,) if t >= 10 else ()) for t in range(40)])
    alarms = [step for step in steps if step.alarm]
    assert len(alarms) > 2 and alarms[-1].named[0].begin > alarms[0].named[0].begin
    assert memory.incident.since(1, alarms[-1].named[0].begin) == alarms[0].named[0].begin
    assert memory.incident.since(3, 7) == 7  # not part of it


def test_a_shifted_scalar_is_named_after_the_counts():
    rng = np.random.default_rng(3)
    _, steps = run(watch_of(rng), [window_of(rng, t, shift=3.0 if t >= 10 else 0.0) for t in range(20)])
    opened = next(step for step in steps if step.action == "open")
    assert opened.named[0].signal == 4 and opened.named[0].sums[0] >= 1


def test_decisions_are_the_same_when_the_memory_is_written_and_read_after_every_window():
    rng = np.random.default_rng(4)
    watch, windows = watch_of(rng), story(rng)
    kept, plain = run(watch, windows)
    restarted, again = run(watch, windows, restart=True)
    assert [(s.action, s.evidence, s.begin) for s in plain] == [(s.action, s.evidence, s.begin) for s in again]
    assert dump(kept) == dump(restarted)


def test_taking_a_window_leaves_the_old_memory_alone():
    rng = np.random.default_rng(5)
    watch = watch_of(rng)
    memory, _ = run(watch, story(rng)[:34])
    before, window = dump(memory), window_of(rng, 34)
    first, second = advance(watch, memory, window), advance(watch, memory, window)
    assert dump(memory) == before
    assert dump(first[0]) == dump(second[0]) and first[1].evidence == second[1].evidence


def test_a_window_with_few_rows_joins_the_next_one():
    rng = np.random.default_rng(6)
    watch = watch_of(rng)
    small, large = window_of(rng, 0, rows=5), window_of(rng, 1)
    joined = Window(0, large.end, 205, small.counts + large.counts, large.scalars)
    waiting, step = advance(watch, fresh(watch), small)
    assert not step.used and waiting.age == 0
    after, _ = advance(watch, load(dump(waiting)), large)
    direct, _ = advance(watch, fresh(watch), joined)
    assert dump(after) == dump(direct)


def test_few_starts_serve_a_long_stream_and_no_evidence_is_lost():
    rng = np.random.default_rng(7)
    watch = watch_of(rng, signals=1, threshold=1e300)
    memory = fresh(watch)
    values = []
    for t in range(2000):
        memory, step = advance(watch, memory, window_of(rng, t, signals=1))
        values.append(step.evidence)
    assert memory.births.size <= 32
    assert memory.births[0] == 1 and memory.births[-1] == 2000
    assert 0 < values[-1] < 2e5


def test_a_start_that_goes_hands_its_value_to_the_next_older_one():
    rng = np.random.default_rng(8)
    watch = watch_of(rng, signals=1, scalars=0, threshold=1e300)
    memory = fresh(watch)
    for t in range(200):
        older, window = memory, window_of(rng, t, signals=1, scalars=0)
        memory, step = advance(watch, older, window)
        assert np.exp(memory.log_m).sum() == pytest.approx(step.evidence, rel=1e-9)


def test_a_memory_of_other_signals_starts_afresh():
    rng = np.random.default_rng(9)
    watch = watch_of(rng)
    memory, _ = run(watch, story(rng)[:10])
    other = Watch(watch.counts, watch.scalars, watch.weights, watch.threshold, "other")
    assert advance(other, memory, window_of(rng, 10))[0].age == 1


def test_an_open_incident_survives_windows_without_its_signal():
    rng = np.random.default_rng(10)
    watch = watch_of(rng)
    memory, steps = run(watch, story(rng)[:36])
    assert any(step.action == "open" for step in steps)
    empty = Window(0, 1, 100, np.zeros(16), np.array([np.nan]))
    after, step = advance(watch, memory, empty)
    assert step.action == "none" and after.incident is not None and memory.incident is not None
    assert after.incident.causes == memory.incident.causes


@pytest.mark.parametrize("null", ["multinomial", "overdispersed", "heavy-tailed scalars"])
def test_false_alarms_stay_within_the_budget(null):
    """20 clean streams of 300 windows at A = 100: at most 60 alarms are promised on average."""
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng([seed, 77])

        def window(t, rng=rng):
            shares = [rng.dirichlet(P * 200) if null == "overdispersed" else P for _ in range(3)]
            counts = np.concatenate([rng.multinomial(300, share) for share in shares]).astype(float)
            scalar = rng.lognormal(0, 1, 1) if null == "heavy-tailed scalars" else rng.normal(size=1)
            return Window(t, t + 1, 300, counts, scalar)

        reference = [window(t) for t in range(28)]
        blocks = np.array([each.counts for each in reference])
        counts = count_model([(blocks[:, i : i + 4].sum(0), blocks[:, i : i + 4]) for i in (0, 4, 8)])
        scalars = scalar_model([np.array([each.scalars[0] for each in reference])], [4.0], [0.0])
        watch = Watch(counts, scalars, np.full(4, 0.25), 100.0, "m")
        alarms += sum(step.alarm for step in run(watch, [window(t) for t in range(300)])[1])
    assert alarms <= 60 + 2 * np.sqrt(60)


def test_an_incident_closes_falsely_at_most_once_in_twenty_windows_of_an_unchanged_change():
    rng = np.random.default_rng(12)
    watch = watch_of(rng, signals=1, scalars=0)
    closes = 0
    for _ in range(20):
        named = detector.Named(0, 1.0, 0, rng.multinomial(2000, MOVED).astype(float), np.zeros(0))
        ongoing = incident.join(None, [named])
        for _ in range(20):
            weighted = watch.counts.weigh(rng.multinomial(200, MOVED).astype(float))
            ongoing = incident.advance(watch.counts, watch.scalars, ongoing, weighted, np.zeros(0))
            closes += incident.over(ongoing)
    assert closes <= 20


def test_an_incident_that_comes_back_soon_holds_twice_as_long():
    rng = np.random.default_rng(14)
    changed = {t for t in range(120) if t % 12 < 4}
    _, steps = run(watch_of(rng), [window_of(rng, t, changed=(1,) if t in changed else ()) for t in range(120)])
    actions = [step.action for step in steps if step.action != "none"]
    assert 1 <= actions.count("open") <= 3
    assert incident.next_hold(3, 5) == 6 and incident.next_hold(3, 31) == incident.HOLD
    assert incident.next_hold(96, 10) == incident.MOST_HOLD and incident.next_hold(3, -1) == incident.HOLD
