"""A small chart as PNG, drawn here: the numbers of the leading cause before and since the first evidence.

No drawing library is loaded for 480 by 120 pixels. It is drawn three times as large and averaged, which makes the
edges smooth, and has no text: the words stand beside it.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 480, 120
SCALE = 3
MARGIN = 6
PAPER, BAND, LINE, SINCE, EDGE = (255, 255, 255), (214, 228, 245), (31, 94, 168), (253, 240, 226), (200, 90, 20)
LEAST = 2  # points with a value; with fewer there is nothing to see


@dataclass(frozen=True)
class Curve:
    """A metric over time, ascending: (value, low, high) of each window, None where there is none.

    `since`: the index of the first window of the evidence. `title`: what is drawn, for those who cannot see it.
    """

    title: str
    points: Sequence[tuple[float | None, float | None, float | None]]
    since: int


def draw(curve: Curve) -> bytes | None:
    """The PNG (a few kB), or None when there is too little to draw."""
    known = [point for point in curve.points if point[0] is not None]
    if len(known) < LEAST:
        return None
    numbers = [number for point in known for number in point if number is not None]
    low, high = min(numbers), max(numbers)
    if high == low:
        low, high = low - 0.5, high + 0.5
    width, height, margin = WIDTH * SCALE, HEIGHT * SCALE, MARGIN * SCALE
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = PAPER

    def across(index: float) -> int:
        return margin + round(index / max(1, len(curve.points) - 1) * (width - 1 - 2 * margin))

    def down(value: float) -> int:
        return height - 1 - margin - round((value - low) / (high - low) * (height - 1 - 2 * margin))

    if 0 <= curve.since < len(curve.points):
        start = across(max(0.0, curve.since - 0.5))
        canvas[:, start:] = SINCE
        canvas[:, start : start + SCALE] = EDGE
    stretches = _stretches(curve.points)
    for stretch in stretches:
        xs = np.array([across(index) for index, _ in stretch])
        columns = np.arange(xs[0] - (SCALE if len(xs) == 1 else 0), xs[-1] + 1 + (SCALE if len(xs) == 1 else 0))
        lows, highs, middles = (
            np.interp(columns, xs, [down(_or(point[part], point[0])) for _, point in stretch]) for part in (1, 2, 0)
        )
        for x, top, bottom in zip(columns, np.rint(highs).astype(int), np.rint(lows).astype(int), strict=True):
            canvas[top : bottom + 1, x] = BAND
        _line(canvas, columns, np.rint(middles).astype(int))
    small = canvas.reshape(HEIGHT, SCALE, WIDTH, SCALE, 3).mean(axis=(1, 3))
    return _png(np.rint(small).astype(np.uint8))


def _line(canvas: np.ndarray, columns: np.ndarray, ys: np.ndarray) -> None:
    """Join the heights of neighbouring columns, two pixels thick after averaging."""
    thick = SCALE
    before = ys[0]
    for x, y in zip(columns, ys, strict=True):
        top, bottom = min(before, y) - thick, max(before, y) + thick
        canvas[max(0, top) : bottom + 1, x] = LINE
        before = y


def _stretches(
    points: Sequence[tuple[float | None, float | None, float | None]],
) -> list[list[tuple[int, tuple[float | None, float | None, float | None]]]]:
    """The runs of points that have a value, with their places: a gap in the numbers is a gap in the line."""
    found: list[list[tuple[int, tuple[float | None, float | None, float | None]]]] = [[]]
    for index, point in enumerate(points):
        if point[0] is None:
            found.append([])
        else:
            found[-1].append((index, point))
    return [stretch for stretch in found if stretch]


def _or(number: float | None, other: float | None) -> float:
    return float(number if number is not None else other or 0.0)


def _png(pixels: np.ndarray) -> bytes:
    """Eight bits a channel, RGB, no filter: what every reader of PNG takes."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + width * 3), np.uint8)
    rows[:, 1:] = pixels.reshape(height, width * 3)

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
