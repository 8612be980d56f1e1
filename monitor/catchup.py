"""The nightly test after a long import: hundreds of days to judge, while people wait for other things.

It is done a day at a time, and between two days it gives way: as long as something that was asked for (a report, a
back-test…) is not finished, or live windows have a backlog, one look judges one day, of the model whose turn it is, and
ends. One day a look keeps a line of reports without end from stopping the test. Days of a model are judged in order and
each once whatever comes between (`evaluate/nightly`), so giving way changes when a day is judged, never what it says.
"""

from collections import deque
from collections.abc import Callable, Sequence

from monitor import clock

TURN = 10.0  # seconds that a model with many days is worked at before the others have their turn

Judge = Callable[[int, int, Callable[[], bool]], int]


class CatchUp:
    """The nights of all models, as one worker does them.

    Args:
        judge: judges days of a model (its number, its project) until told that it is enough; returns how many.
        waits: whether somebody waits for something else.
        stopping: whether this worker is about to end.
    """

    def __init__(self, judge: Judge, waits: Callable[[], bool], stopping: Callable[[], bool]) -> None:
        self._judge = judge
        self._waits = waits
        self._stopping = stopping
        self._last: dict[int, float] = {}  # model -> when one of its days was judged, by the monotonic clock

    def look(self, models: Sequence[tuple[int, int]]) -> None:
        """Judge what is due of these models, those first that had no turn for longest; or one day, and give way."""
        line = deque(sorted(models, key=lambda one: self._last.get(one[0], 0.0)))
        while line and not self._stopping():
            model_id, project_id = line.popleft()
            if not self._judge(model_id, project_id, self._turn()):
                continue  # nothing is due, or another worker is at it
            self._last[model_id] = clock.monotonic()
            if self._waits():
                return
            line.append((model_id, project_id))

    def _turn(self) -> Callable[[], bool]:
        """Asked before each day whether it is enough: the first is judged in any case."""
        until, begun = clock.monotonic() + TURN, False

        def enough() -> bool:
            nonlocal begun
            first, begun = not begun, True
            return self._stopping() or (not first and (clock.monotonic() > until or self._waits()))

        return enough
