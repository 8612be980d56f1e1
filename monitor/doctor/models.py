"""Monitors that are noisy, dependent, deaf, starved or stale, each with the change to make.

These words are for code and scripts; what people read is said without them.

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
        found = [Finding("monitors", "ok", "Nothing to do: it is watched as it should be")]
    return [Finding(one.area, one.level, one.text, one.change, model.name) for one in found]


def _noisy(connection: Connection, model: Model, now: int) -> list[Finding]:
    config = model.config
    opened = overview.alerts_opened(connection, model.id, now - clock.parse_span(config.per))
    count = sum(number for family, number in opened.items() if not family.startswith("monitor:"))
    if count <= max(NOISY * config.false_alarms, NOISY):
        return []
    text = f"{count} alerts within {config.per}: far more than the {config.false_alarms:g} false ones of its budget"
    change = (
        "If the world has changed for good, accept that as the new normal on the alert's page, or PUT a new reference; "
        "mark times that were broken as known bad; or back-test a smaller budget on the model's page"
    )
    return [Finding("noisy", "warning", text, change)]


def _parted(connection: Connection, model: Model, now: int) -> list[Finding]:
    """Where the last rows and the schema part."""
    found = findings.recent(model, schema_findings.read(connection, model.project_id, model.id), now)
    changes = {
        schema_findings.NEW: "PUT the model with them in `features`: with their kind to watch them, or as `ignored`",
        schema_findings.RETYPED: "Mend the sender, or, if the new type is right, PUT the model with it in `features`",
        schema_findings.MISSING: "Mend the sender, or, if they are gone for good, PUT the model without them",
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
        f"Expect more false alarms than its budget allows: windows of its reference resemble the ones before them "
        f"(correlation of {told}{more}), and the budget holds where they do not"
    )
    change = "Take longer windows, or a reference long enough to hold several such ups and downs"
    return [Finding("dependent", "warning", text, change)]


def _deaf(connection: Connection, model: Model, reference: Reference | None, now: int) -> list[Finding]:
    found = []
    if model.paused_at is not None:
        text = f"Paused since {_minute(model.paused_at)}: it raises no alert"
        found.append(Finding("deaf", "warning", text, 'To go on: POST /v1/models/{model}/pause with {"paused": false}'))
    if reference is not None and not reference.profile.labelled:
        text = "Cannot tell when the model gets worse: its reference has no outcomes to compare with"
        found.append(Finding("deaf", "warning", text, "PUT a reference whose rows carry their outcomes, as `actual`"))
    if reference is not None and not reference.windows:
        text = "Cannot tell when traffic changes, nor what nights and weekends are like: its reference has no times"
        found.append(Finding("deaf", "note", text, "PUT a reference of some weeks whose rows carry their timestamps"))
    days = 0 if reference is None else len({start // DAY for start, _, _ in reference.windows})
    if 0 < days < LEAST_DAYS:
        text = "Cannot tell when features change together while each one looks as usual: that takes a reference of"
        has = f"{days} day{'s' if days > 1 else ''}"
        change = "PUT a reference that spans some weeks"
        found.append(Finding("deaf", "note", f"{text} {LEAST_DAYS} days, and this one has {has}", change))
    if events.touches(events.known_bad(connection, model.id), now - model.config.window_us, now):
        text = "Raises no alert at present: somebody has marked this time as known bad"
        found.append(Finding("deaf", "note", text, "When it is over, remove that event on the model's page"))
    return found


def _starved(model: Model, states: Sequence[WindowState], now: int) -> list[Finding]:
    found = []
    filled = [one.rows for one in states if one.rows]
    if len(filled) >= LEAST and float(np.mean([rows < FEW_ROWS for rows in filled])) >= 0.5:
        usual = float(np.median(filled))
        needed = model.config.window_us * ENOUGH_ROWS / max(usual, 1.0)
        longer = next((one for one in _LENGTHS if clock.parse_span(one) >= needed), _LENGTHS[-1])
        text = f"Too few rows: a window of {model.config.window} has {usual:g}, and fewer than {FEW_ROWS} tell nothing"
        if longer != model.config.window:
            found.append(
                Finding("starved", "warning", text, f"Take longer windows: PUT the model with `window` {longer}")
            )
    wait = max(model.config.label_delay_us, model.config.grace_us)
    ripe = [one for one in states if one.rows and one.end + wait <= now]
    if len(ripe) >= LEAST and not any(one.labelled for one in ripe):
        text = f"How well the model does is not known: no outcome came in time for any of the last {len(ripe)} windows"
        change = "Send outcomes with the predictions' ids; if they come later, raise `label_delay`"
        found.append(Finding("starved", "warning", text, f"{change} (now {model.config.label_delay})"))
    return found


def _stale(connection: Connection, model: Model, states: Sequence[WindowState], now: int) -> list[Finding]:
    found = []
    final = [one for one in states if one.rows and one.final]
    late = [one for one in final if one.revision]
    if len(final) >= LEAST and len(late) > 0.1 * len(final):
        text = (
            f"Judged too early: in {len(late)} of the last {len(final)} windows rows or outcomes came later than that"
        )
        change = (
            f"Wait longer: raise `label_delay` (now {model.config.label_delay}) for outcomes, "
            f"or `grace` (now {model.config.grace}) for rows"
        )
        found.append(Finding("stale", "warning", text, change))
    if failed := [one for one in states if one.error]:
        text = f"{len(failed)} of the last {len(states)} windows could not be measured: {failed[0].error}"
        found.append(Finding("stale", "error", text, "This is a fault of Keepwatch: report it, please"))
    known = references.list_references(connection, model.id)
    if known and all(one.provisional for one in known) and now - known[0].source.get("from", now) > YOUNG:
        text = "It is compared with its first rows, whatever they were like: it has no reference of its own yet"
        change = "Give it a time when all was well: PUT /v1/models/{model}/reference"
        found.append(Finding("stale", "warning", text, change))
    until = known[-1].source.get("to") if known and not known[-1].provisional else None
    if until is not None and now - until > OLD_REFERENCE:
        text = f"It is compared with a time long gone: its reference ended {(now - until) // DAY} days ago"
        found.append(Finding("stale", "note", text, "PUT a newer stretch as the reference, if all was well then"))
    return found


def _minute(at: int) -> str:
    return clock.render(at // clock.MINUTE * clock.MINUTE)
