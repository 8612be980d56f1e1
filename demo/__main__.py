"""The demo, from an empty folder to alerts: `make demo`, or `python -m demo [--exit]`."""

import argparse
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from demo.flights import Flights, load
from demo.model import FOLDS, train
from demo.receiver import Receiver
from demo.replay import MODEL, SETTINGS, Client, Step, reference_body, replay, wait_until_evaluated
from demo.server import DemoError, Server

FOLDER = Path(".demo")
DELIVERY_SECONDS = 60


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--exit", action="store_true", help="stop when the replay is done")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: the server must not outlive the demo
    receiver = Receiver()
    server: Server | None = None
    done = False
    try:
        server = Server(FOLDER)
        run(server, receiver, console)
        done = True
        if not arguments.exit:
            console.print("\nThe server stays up. Press Ctrl-C to stop it.")
            while not threading.Event().wait(1):
                server.check()
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 0 if done else 130
    except (DemoError, FileNotFoundError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    finally:
        receiver.close()
        if server is not None:
            server.stop()
    return 0


def run(server: Server, receiver: Receiver, console: Console) -> None:
    """The whole story; every stage says what it does and how long it took."""
    start = time.monotonic()
    with _bar(console) as bar:
        learning = bar.add_task("Reading flights, training", total=FOLDS + 2)
        flights = load()
        bar.advance(learning)
        winter = flights.where(flights.month <= 2)
        trained = train(winter, lambda: bar.advance(learning))
        rest = flights.where(flights.month > 2)
        scores = trained.score(rest)
    console.print(
        f"Trained on {len(winter):,} flights of January and February; on days it had not seen:"
        f" ROC AUC {trained.auc:.3f}, Brier score {trained.brier:.3f}"
    )

    server.wait_until_ready()
    client = Client(server.url, server.key)
    client.send("PUT", f"/v1/models/{MODEL}", SETTINGS)
    client.send("PUT", f"/v1/models/{MODEL}/reference", reference_body(winter, trained.scores))
    channel = client.send(
        "POST",
        "/v1/channels",
        {"kind": "webhook", "name": "demo receiver", "url": receiver.url, "secret": receiver.secret, "match": []},
    )
    console.print(f"Serving on {server.url}; the dashboard, while the replay runs: {server.login_url()}")

    replay_start = time.monotonic()
    taken = _replay(server, client, rest, scores, console)
    seconds = time.monotonic() - replay_start
    _wait_for_deliveries(client, channel["id"])
    console.print(
        f"Replayed {taken:,} predictions and outcomes in {seconds:.0f} s, evaluation included;"
        f" {time.monotonic() - start:.0f} s in all\n"
    )
    alerts = _alerts(client)
    client.close()
    _print_alerts(console, alerts)
    _print_deliveries(console, receiver)
    if not any(alert["family"] == "multivariate" for alert in alerts):
        console.print("Joint drift is judged by night, and still catches up: what it finds comes within minutes.")
    if receiver.refused:
        raise DemoError(f"{len(receiver.refused)} webhook deliveries were refused: {receiver.refused[0]}")
    console.print(f"\nDashboard: {server.login_url()}", soft_wrap=True)


def _replay(server: Server, client: Client, rest: Flights, scores: np.ndarray, console: Console) -> int:
    total = len(rest) + int((rest.lands >= 0).sum())
    with _bar(console) as bar:
        sending = bar.add_task("Replaying 2013-03-01", total=total)

        def progress(step: Step) -> None:
            date = np.datetime64(step.at, "us").astype("datetime64[D]")
            bar.update(sending, advance=step.rows, description=f"Replaying {date}")

        taken = replay(client, rest, scores, progress)
        catching_up = bar.add_task("Evaluating", total=None)
        wait_until_evaluated(
            client, rest, server.check, lambda final, due: bar.update(catching_up, completed=final, total=due)
        )
    return taken


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<26}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def _wait_for_deliveries(client: Client, channel_id: str) -> None:
    """Wait until nothing is on its way to the receiver any more."""
    deadline = time.monotonic() + DELIVERY_SECONDS
    while time.monotonic() < deadline:
        items = client.send("GET", f"/v1/channels/{channel_id}/deliveries?limit=100")["items"]
        if all(item["state"] != "pending" for item in items):
            return
        time.sleep(0.5)
    raise DemoError(f"webhook deliveries were still pending after {DELIVERY_SECONDS} seconds")


def _alerts(client: Client) -> list[dict[str, Any]]:
    """Every alert of the model, oldest first."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = client.send("GET", f"/v1/alerts?model={MODEL}&limit=100" + (f"&cursor={cursor}" if cursor else ""))
        found += page["items"]
        cursor = page.get("next_cursor") or ""
        if not cursor:
            return sorted(found, key=lambda alert: alert["opened_at"])


def _print_alerts(console: Console, alerts: list[dict[str, Any]]) -> None:
    table = Table("Opened", "Family", "Severity", "State", "Resolved", "What it says", title="Alerts")
    for alert in alerts:
        resolved = (alert["resolved_at"] or "")[:10]
        text = alert["text"].removeprefix(f"{MODEL}: ")
        table.add_row(alert["opened_at"][:10], alert["family"], alert["severity"], alert["state"], resolved, text)
    console.print(table if alerts else "No alert was raised.")


def _print_deliveries(console: Console, receiver: Receiver) -> None:
    table = Table("webhook-id", "Type", "Alert", title="Webhook deliveries, signatures verified by the local receiver")
    for one in receiver.received.values():
        table.add_row(one.id, one.type, f"{one.data.get('model', '')} {one.data.get('family', '')}")
    console.print(table if receiver.received else "No webhook was delivered.")


if __name__ == "__main__":
    sys.exit(main())
