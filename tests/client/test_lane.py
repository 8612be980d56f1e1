"""The queue on disk: what was synced comes back after any cut, and nothing that was not written does."""

import fcntl
import os
from pathlib import Path

import pytest

from monitor.client.lane import MARK, Lane, pack, unpack

ROWS = [f'p{{"id":"{i}","pad":"{"x" * (i * 37 % 300)}"}}'.encode() for i in range(40)]


def made(folder: Path, rows: list[bytes] = ROWS) -> Path:
    """A lane with these rows whose process has ended; its only segment."""
    lane = Lane.create(str(folder), "one")
    lane.append(rows)
    lane.forget()
    (segment,) = (folder / "one").glob("*.log")
    return segment


def read(folder: Path) -> tuple[list[bytes], int]:
    """All that a lane gives to the process that takes it over, and how often it passed over damage."""
    lane = Lane.adopt(str(folder / "one"))
    assert lane is not None
    rows, damaged = [], 0
    while (batch := lane.peek(7, 500)) is not None:
        rows += batch.records
        damaged += batch.damaged
        lane.acknowledge(batch.end)
    lane.forget()
    return rows, damaged


def test_a_power_cut_at_any_byte_leaves_exactly_the_rows_before_it(tmp_path: Path):
    whole = b"".join(map(pack, ROWS))
    ends = [0]
    for row in ROWS:
        ends.append(ends[-1] + len(pack(row)))
    for cut in range(0, len(whole) + 1, 3):
        found = [content for content, _ in unpack(whole[:cut])]
        assert found == ROWS[: sum(end <= cut for end in ends) - 1]
    segment = made(tmp_path)
    os.truncate(segment, len(whole) - 5)
    assert read(tmp_path) == (ROWS[:-1], 1)


@pytest.mark.parametrize("tail", [b"\x00" * 4096, MARK, MARK + b"\xff" * 8, os.urandom(500)])
def test_a_torn_tail_of_any_content_ends_the_segment(tmp_path: Path, tail: bytes):
    segment = made(tmp_path)
    with segment.open("ab") as file:
        file.write(tail)
    assert read(tmp_path) == (ROWS, 1)


@pytest.mark.parametrize("part", ["mark", "length", "checksum", "content"])
def test_damage_in_the_middle_costs_one_row_and_is_told(tmp_path: Path, part: str):
    segment = made(tmp_path)
    data = bytearray(segment.read_bytes())
    start = sum(len(pack(row)) for row in ROWS[:10])
    data[start + {"mark": 0, "length": 2, "checksum": 6, "content": 15}[part]] ^= 0x41
    segment.write_bytes(data)
    assert read(tmp_path) == (ROWS[:10] + ROWS[11:], 1)


def test_a_lane_of_a_living_process_is_not_taken_over(tmp_path: Path):
    lane = Lane.create(str(tmp_path), "one")
    lane.append(ROWS)
    assert Lane.adopt(str(tmp_path / "one")) is None
    lane.forget()
    assert Lane.adopt(str(tmp_path / "one")) is not None


@pytest.mark.parametrize("ended", [False, True], ids=["and holds it", "and has removed it"])
def test_a_lane_is_made_though_somebody_takes_its_beginning_for_one_that_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: bool
):
    """Between its folder and its lock there is a moment in which it looks like that of a process that died."""
    lock = fcntl.flock
    taken: list[Lane] = []

    def slow(file: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        (name,) = (one.name for one in tmp_path.iterdir())
        adopted = Lane.adopt(str(tmp_path / name))
        assert adopted is not None
        taken.append(adopted)
        if ended:
            adopted.close()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", slow)
    lane = Lane.create(str(tmp_path), "one")
    lane.append(ROWS)
    assert taken and Lane.adopt(lane.folder) is None
    taken[0].forget()
    lane.forget()
    found = Lane.adopt(lane.folder)
    assert found is not None
    batch = found.peek(100, 1 << 20)
    assert batch is not None and batch.records == ROWS
    found.forget()


def test_a_lost_cursor_sends_again_rather_than_not_at_all(tmp_path: Path):
    made(tmp_path)
    assert read(tmp_path)[0] == ROWS
    (tmp_path / "one" / "cursor").write_text("")
    made_again = Lane.adopt(str(tmp_path / "one"))
    assert made_again is not None and made_again.peek(1, 100) is None  # the segment was removed when it was all sent


def test_rows_that_a_failed_sync_left_in_doubt_are_written_again(tmp_path: Path):
    lane = Lane.create(str(tmp_path), "one")
    lane.append(ROWS[:3])

    def broken(_file: int) -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError):
        lane.append(ROWS[3:6], sync=broken)
    lane.append(ROWS[3:6])
    seen = []
    while (batch := lane.peek(100, 1 << 20)) is not None:
        seen += batch.records
        lane.acknowledge(batch.end)
    assert seen == ROWS[:6]
    lane.close()
    assert not (tmp_path / "one").exists()


def test_segments_are_removed_when_all_of_them_was_sent(tmp_path: Path):
    lane = Lane.create(str(tmp_path), "one", segment=1000)
    for at in range(0, 40, 4):
        lane.append(ROWS[at : at + 4])
    assert len(list((tmp_path / "one").glob("*.log"))) > 3
    while (batch := lane.peek(3, 1 << 20)) is not None:
        lane.acknowledge(batch.end)
    assert len(list((tmp_path / "one").glob("*.log"))) == 1
    lane.close()
