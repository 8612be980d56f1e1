"""Monitors that are noisy, dependent, deaf, starved or stale, each with the change to make.

Noisy: pages more often than anybody bears. Deaf: cannot say what it is there for. Starved: gets too little to judge.
Stale: judges by numbers, or against a reference, that time has overtaken.
Dependent: its windows resemble the ones before, more than the alert budget assumes.
"""

from collections.abc import Sequence

import numpy as np
from sqlalchemy.engine import Connection

from monitor import clock
from monitor.clock import DAY
from monitor.doctor import Finding, by_hand
from monitor.evaluate import findings, watched
from monitor.evaluate.loaded import Reference, reference_for
from monitor.stats.serial import dependent
from monitor.store import events, overview, profiles, references, schema_findings
from monitor.store.catalog import Model
from monitor.store.overview import WindowState

RECENT = 200  # windows that are looked at
LEAST = 20  # windows from which a share means something
FEW_ROWS = 20  # a window of fewer joins the next one
ENOUGH_ROWS = 50
NOISY = 3  # times the budget
OLD_REFERENCE = 365 * DAY
YOUNG = 7 * DAY
LEAST_DAYS = 14  # as monitor/stats/two_sample.py has it, without loading it
_LENGTHS = ("1h", "2h", "3h", "4h", "6h", "8h", "12h", "1d", "7d")


def examine(connection: Connection, model: Model, now: int) -> list[Finding]:
    """What is wrong with the monitoring of a model at `now`, its own clock; one "ok" when nothing is."""
    states = overview.window_states(connection, model.id, RECENT)
    number = profiles.current_number(connection, model.id)
    reference = reference_for(connection, model.id, number) if number else None
    found = [
        *_noisy(connection, model, now),
        *_dependent(model, reference),
        *_deaf(connection, model, reference, now),
        *_starved(model, states, now),
        *_stale(connection, model, states, now),
        *_parted(connection, model, now),
    ]
    for one in watched.list_monitors(connection, model.id):
        found += by_hand.examine(connection, model, one, now)
    if not found:
        found = [Finding("monitors", "ok", "Nothing about its monitoring asks for a change")]
    return [Finding(one.area, one.level, one.text, one.change, model.name) for one in found]


def _noisy(connection: Connection, model: Model, now: int) -> list[Finding]:
    config = model.config
    opened = overview.alerts_opened(connection, model.id, now - clock.parse_span(config.per))
    count = sum(number for family, number in opened.items() if not family.startswith("monitor:"))
    if count <= max(NOISY * config.false_alarms, NOISY):
        return []
    text = f"Noisy: {count} alerts within {config.per}, where {config.false_alarms:g} false ones are budgeted"
    change = (
        "If the world has changed for good, PUT a new reference; mark stretches that were broken as known_bad; "
        "or back-test a smaller alert_budget"
    )
    return [Finding("noisy", "warning", text, change)]


def _parted(connection: Connection, model: Model, now: int) -> list[Finding]:
    """Where the last rows and the schema part."""
    found = findings.recent(model, schema_findings.read(connection, model.project_id, model.id), now)
    changes = {
        schema_findings.NEW: "PUT the model with these names in `features`, or with the kind ignored",
        schema_findings.RETYPED: "Mend the sender, or PUT the model with the new kind in `features`",
        schema_findings.MISSING: "Mend the sender, or PUT the model without these names in `features`",
    }
    return [
        Finding("schema", "note" if kind == schema_findings.NEW else "warning", text.rstrip("."), changes[kind])
        for kind, text in findings.told(found)
    ]


def _dependent(model: Model, reference: Reference | None) -> list[Finding]:
    if reference is None or not reference.windows:
        return []
    starts = [start for start, _, _ in reference.windows]
    found = dependent([profile for _, _, profile in reference.windows], starts, model.config.timezone)
    if not found:
        return []
    told = ", ".join(f"{name} {r:.2f}" for name, r in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    text = (
        f"Dependent: windows of the reference resemble the one before (correlation of {told}{more}); the alert budget "
        "is kept where windows are independent, so expect more false alarms than budgeted"
    )
    change = "Take longer windows, or a reference that covers several such swings"
    return [Finding("dependent", "warning", text, change)]


def _deaf(connection: Connection, model: Model, reference: Reference | None, now: int) -> list[Finding]:
    found = []
    if model.paused_at is not None:
        text = f"Deaf: paused since {_minute(model.paused_at)}"
        found.append(Finding("deaf", "warning", text, 'POST …/pause with {"paused": false}'))
    if reference is not None and not reference.profile.labelled:
        text = "Deaf to performance: the reference has no outcomes"
        found.append(Finding("deaf", "warning", text, "PUT a reference whose rows carry `actual`"))
    if reference is not None and not reference.windows:
        text = "Deaf to traffic, daily and weekly rhythm: the reference has no windows"
        found.append(Finding("deaf", "note", text, "PUT a reference with timestamps that spans some weeks"))
    days = 0 if reference is None else len({start // DAY for start, _, _ in reference.windows})
    if 0 < days < LEAST_DAYS:
        text = f"Deaf to features that go together otherwise: the reference has {days} days, and the nightly test needs"
        found.append(Finding("deaf", "note", f"{text} {LEAST_DAYS}", "PUT a reference that spans some weeks"))
    if events.touches(events.known_bad(connection, model.id), now - model.config.window_us, now):
        text = "Deaf at present: this stretch is marked as known to be bad"
        found.append(Finding("deaf", "note", text, "DELETE the event when it is over"))
    return found


def _starved(model: Model, states: Sequence[WindowState], now: int) -> list[Finding]:
    found = []
    filled = [one.rows for one in states if one.rows]
    if len(filled) >= LEAST and float(np.mean([rows < FEW_ROWS for rows in filled])) >= 0.5:
        usual = float(np.median(filled))
        needed = model.config.window_us * ENOUGH_ROWS / max(usual, 1.0)
        longer = next((one for one in _LENGTHS if clock.parse_span(one) >= needed), _LENGTHS[-1])
        text = f"Starved: a window of {model.config.window} has {usual:g} rows, and fewer than {FEW_ROWS} tell nothing"
        if longer != model.config.window:
            found.append(Finding("starved", "warning", text, f"Set window to {longer}"))
    wait = max(model.config.label_delay_us, model.config.grace_us)
    ripe = [one for one in states if one.rows and one.end + wait <= now]
    if len(ripe) >= LEAST and not any(one.labelled for one in ripe):
        text = f"Starved: none of the last {len(ripe)} windows had an outcome when its labels were due"
        found.append(Finding("starved", "warning", text, "Send outcomes with the predictions' ids"))
    return found


def _stale(connection: Connection, model: Model, states: Sequence[WindowState], now: int) -> list[Finding]:
    found = []
    final = [one for one in states if one.rows and one.final]
    late = [one for one in final if one.revision]
    if len(final) >= LEAST and len(late) > 0.1 * len(final):
        text = f"Stale: {len(late)} of the last {len(final)} windows were restated after they had given their evidence"
        change = f"Raise label_delay (now {model.config.label_delay}) or grace (now {model.config.grace})"
        found.append(Finding("stale", "warning", text, change))
    if failed := [one for one in states if one.error]:
        text = f"Stale: {len(failed)} of the last {len(states)} windows could not be measured: {failed[0].error}"
        found.append(Finding("stale", "error", text, "Report this, please"))
    known = references.list_references(connection, model.id)
    if known and all(one.provisional for one in known) and now - known[0].source.get("from", now) > YOUNG:
        text = "Stale: its first rows still serve as the reference"
        found.append(Finding("stale", "warning", text, "PUT /v1/models/{model}/reference of a stretch that was well"))
    until = known[-1].source.get("to") if known and not known[-1].provisional else None
    if until is not None and now - until > OLD_REFERENCE:
        text = f"Stale: the reference ended {(now - until) // DAY} days ago"
        found.append(Finding("stale", "note", text, "PUT a newer stretch as the reference, if it was well"))
    return found


def _minute(at: int) -> str:
    return clock.render(at // clock.MINUTE * clock.MINUTE)
