"""Requests of one row each, decoded together.

To turn one row into forty Arrow arrays and check them takes milliseconds, and as long for sixty rows. So bodies of one
row wait until the ones before them are committed, and then become columns together. Each still has an answer of its
own; a body that does not fit the model's schema is decoded by itself and can spoil no other.
"""

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from queue import SimpleQueue

import structlog

from monitor.columns import FILLED_ID
from monitor.errors import Invalid, KeepwatchError, Overloaded
from monitor.ingest.decode import decode_predictions, decode_singles
from monitor.ingest.validate import PredictionBatch, Times, validate_predictions
from monitor.ingest.write import Answer
from monitor.ingest.writer import Writer
from monitor.store.catalog import Model

log = structlog.get_logger()

MOST = 500  # rows that are decoded together
MAX_BYTES = 64 * 1024  # of one body: longer ones are worth columns of their own
MAX_WAITING = 20_000
CROWD = 16  # rows at once from which on there are probably more on their way
LOOK_SECONDS, MOST_LOOKS, QUIET_LOOKS = 0.001, 12, 6


@dataclass(frozen=True)
class _Single:
    project_id: int
    name: str
    body: bytes
    owner: str
    answered: "Future[Answer]" = field(default_factory=Future)


class Singles:
    """Between the route and the writer. `start` before the first `submit`; `stop` passes on what waits."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._queue: SimpleQueue[_Single | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._last = 0  # how many were decoded together last
        self._behind = 0  # how many waited already when those were answered
        self._expected = 0  # how many are waited for; 0: nobody waits for them
        self._all_there = threading.Event()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="singles", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Hand everything that waits to the writer, and wait for its commit."""
        if self._thread is None:
            return
        self._stopping = True
        self._queue.put(None)
        self._thread.join()
        self._thread = None

    def submit(self, project_id: int, name: str, body: bytes, owner: str = "") -> "Future[Answer]":
        """Queue a predictions body that holds one row; `owner` as for `Writer.submit`.

        Raises:
            Overloaded: too many wait, or the process is stopping.
        """
        if self._stopping or self._queue.qsize() >= MAX_WAITING:
            raise Overloaded("too many rows wait to be written: send it again", retry_after=1)
        single = _Single(project_id, name, body, owner)
        single.answered.set_running_or_notify_cancel()  # it is written even if nobody waits for it any more
        self._queue.put(single)
        if self._expected and self._queue.qsize() >= self._expected:
            self._all_there.set()
        return single.answered

    def _run(self) -> None:
        ended = False
        while not ended:
            waiting, ended = self._next()
            groups: dict[tuple[int, str, str], list[_Single]] = {}
            for single in waiting:
                groups.setdefault((single.project_id, single.name, single.owner), []).append(single)
            written: list[Future[Answer]] = []
            for where, group in groups.items():
                try:
                    written += self._pass_on(*where, group)
                except Exception as error:  # a fault of ours: whoever waits is told, and the next ones are served
                    log.exception("ingest.singles_failed", requests=len(group))
                    _fail([single for single in group if not single.answered.done()], error)
            for done in written:  # meanwhile the next ones gather
                done.exception()

    def _next(self) -> tuple[list[_Single], bool]:
        """What waits, and whether it is the end. A crowd is let in whole before its door is shut."""
        found: list[_Single] = []
        while len(found) < MOST and (not found or not self._queue.empty()):
            single = self._queue.get()
            if single is None:
                return found, True
            if not found and self._last >= CROWD:
                self._let_in()
            found.append(single)
        self._last = len(found)
        return found, False

    def _let_in(self) -> None:
        """Wait as long as more come: who was just answered sends the next row within milliseconds, and a commit costs
        as much for half of them as for all."""
        quiet = before = 0
        self._all_there.clear()
        self._expected = min(self._last + self._behind, MOST) - 1  # beside the first, who is in already
        for _ in range(MOST_LOOKS):
            came = self._queue.qsize()
            quiet = quiet + 1 if came == before else 0
            # Everybody is back beside those who were left behind, or nobody comes any more.
            if came >= self._expected or quiet == QUIET_LOOKS:
                break
            before = came
            self._all_there.wait(LOOK_SECONDS)
        self._expected = 0

    def _pass_on(self, project_id: int, name: str, owner: str, group: list[_Single]) -> "list[Future[Answer]]":
        """Give the rows to the writer: together those that fit the schema, the others one by one."""
        try:
            model, times = self._writer.model(project_id, name)
        except KeepwatchError as error:
            _fail(group, error)
            return []
        written: list[Future[Answer]] = []
        joined, alone = _joined(group, model, times)
        if joined is not None:
            written += self._into(model, joined, owner, group)
        for single in (group[place] for place in alone):
            try:
                batch = validate_predictions(decode_predictions(single.body, model), model, times)
            except KeepwatchError as error:
                single.answered.set_exception(error)
            else:
                written += self._into(model, batch, owner, [single])
        return written

    def _into(self, model: Model, batch: PredictionBatch, owner: str, group: list[_Single]) -> "list[Future[Answer]]":
        """Submit a batch whose rows' places are places in the group; when it is committed, each gets its own answer."""
        senders = [int(place) for place in batch.index] + [one.index for one in batch.rejected]

        def share(done: "Future[Answer]") -> None:
            self._behind = self._queue.qsize()
            error = done.exception()
            answers = {} if error is not None else _shares(done.result(), batch)
            for place in senders:
                if error is not None:
                    group[place].answered.set_exception(error)
                else:
                    group[place].answered.set_result(answers[place])

        try:
            written = self._writer.submit(model, batch, owner)
        except KeepwatchError as error:
            for place in senders:
                group[place].answered.set_exception(error)
            return []
        written.add_done_callback(share)
        return [written]


def _fail(group: list[_Single], error: Exception) -> None:
    for single in group:
        single.answered.set_exception(error)


def _joined(group: list[_Single], model: Model, times: Times) -> tuple[PredictionBatch | None, list[int]]:
    """The rows of a group as one batch, `index` being the place in the group, and the places that are not in it."""
    everyone = list(range(len(group)))
    if len(group) == 1:
        return None, everyone
    draft, alone = decode_singles([single.body for single in group], model)
    if not draft.rows:
        return None, everyone
    try:
        return validate_predictions(draft, model, times), alone
    except Invalid:  # together they have too many names of tags, say
        return None, everyone


def _shares(answer: Answer, batch: PredictionBatch) -> dict[int, Answer]:
    """The answer of each row by its place, as if it had come alone."""
    made = batch.batch.column("filled").to_numpy() & FILLED_ID
    shares: dict[int, Answer] = {}
    for place, row_id, is_made in zip(batch.index, batch.batch.column("id").to_pylist(), made, strict=True):
        duplicate = int(place) in answer.duplicate_places
        shares[int(place)] = Answer(
            accepted=int(not duplicate), duplicates=int(duplicate), ids=[row_id] if is_made else None
        )
    for one in answer.rejected:
        shares[one.index] = Answer(rejected=[replace(one, index=0)])
    return shares
