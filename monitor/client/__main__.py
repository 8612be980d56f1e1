"""`python -m monitor.client DIRECTORY`: what waits in a queue directory; `--requeue` takes dead letters in again."""

import json
import os
import sys
from typing import Any

from monitor.client.lane import Lane
from monitor.client.spool import DEAD_LETTERS, Spool, not_taken, size_of

_KINDS = {"predictions": b"p", "outcomes": b"o"}
USAGE = "usage: python -m monitor.client DIRECTORY [--requeue]"


def main(arguments: list[str]) -> int:
    """Print one JSON object a model; exit code 1 when there are dead letters or rows that were not taken."""
    folders = [one for one in arguments if one != "--requeue"]
    if len(folders) != 1 or folders[0].startswith("-"):
        sys.stderr.write(USAGE + "\n")
        return 2
    if not os.path.isdir(folders[0]):
        sys.stderr.write(f"{folders[0]}: no such directory\n")
        return 2
    trouble = False
    for model in sorted(os.listdir(folders[0])):
        folder = os.path.join(folders[0], model)
        if not os.path.isdir(folder):
            continue
        again = requeue(folders[0], model) if "--requeue" in arguments else 0
        state = describe(folder) | ({"requeued": again} if again else {})
        sys.stdout.write(json.dumps({"model": model} | state) + "\n")
        trouble = trouble or bool(state["dead_letters"] or state["not_taken"])
    return 1 if trouble else 0


def describe(folder: str) -> dict[str, Any]:
    """What a model's queue holds, without taking anything over."""
    lanes = [os.path.join(folder, name) for name in os.listdir(folder)]
    waiting = 0
    for lane in lanes:
        if os.path.isdir(lane):
            waiting += Lane(lane, -1, own=False).waiting_bytes()
    return {
        "waiting_bytes": waiting,
        "bytes": size_of(folder),
        "dead_letters": sum(1 for _ in _letters(os.path.join(folder, DEAD_LETTERS))),
        "not_taken": not_taken(folder),
    }


def requeue(directory: str, model: str) -> int:
    """Put the dead letters back into the queue; the next client that starts sends them. Returns how many."""
    path = os.path.join(directory, model, DEAD_LETTERS)
    aside = (
        path + ".requeue"
    )  # left by an interrupted run: those are taken in again, the service knows them by their ids
    if not os.path.exists(aside):
        if not os.path.exists(path):
            return 0
        os.rename(path, aside)
    contents = [_KINDS[one["kind"]] + one["row"].encode("ascii") for one in _letters(aside)]
    spool = Spool(directory, model, 1 << 62)
    for at in range(0, len(contents), 1000):
        spool.append(contents[at : at + 1000])
    spool.close()
    os.unlink(aside)
    return len(contents)


def _letters(path: str) -> list[dict[str, Any]]:
    """The dead letters of a file; a line that a power cut tore is left out."""
    found = []
    try:
        with open(path, "rb") as file:
            for line in file:
                try:
                    one = json.loads(line)
                except ValueError:
                    continue
                if isinstance(one, dict) and one.get("kind") in _KINDS:
                    found.append(one)
    except FileNotFoundError:
        pass
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
