"""What is wrong with JSON is told in a sender's words: which field, what was expected, what to do."""

import msgspec
import pytest

from monitor.ingest import decode, ndjson
from monitor.ingest.rowtypes import LOOSE_ROW, OutcomeRow
from monitor.ingest.wording import LONGEST, not_json, place_of, told

LINES = "send rows, a line each, as application/x-ndjson"
TIME = "must be a time as RFC 3339 writes it, for instance 2026-01-31T12:00:00Z"
NO_NAN = "JSON has no NaN and no infinity: send null for a missing value, or send Arrow or Parquet, which have them"


def reason(row: bytes, kind: type[msgspec.Struct] = LOOSE_ROW) -> str:
    decoder = msgspec.json.Decoder(kind)
    with pytest.raises(msgspec.ValidationError) as caught:
        decoder.decode(row)
    return told(caught.value, row, decode.names_of(decoder))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b"7", 'a row must be an object such as {"id": "a", "features": {…}}, and is a number'),
        (b'["a"]', 'a row must be an object such as {"id": "a", "features": {…}}, and is a list'),
        (b'{"id": 5}', "id: must be a text, and is a number: send it in quotes"),
        (b'{"score": "0.5"}', "score: must be a number, and is a text: send it without quotes"),
        (b'{"score": 1e999}', "score: is outside the range of a double"),
        (b'{"prediction": [1]}', "prediction: must be a text or a number or true or false, and is a list"),
        (b'{"error": 1}', "error: must be a text or true or false, and is a number"),
        (b'{"features": [1]}', "features: must be an object, and is a list"),
        (b'{"features": {"x": 1, "y": 1e999}}', "features.y: is outside the range of a double"),
        (b'{"scores": {"a": 0.5, "b": "x"}}', "scores.b: must be a number, and is a text: send it without quotes"),
        (b'{"tags": {"a": 1, "b": {}}}', "tags.b: must be a text or a number or true or false, and is an object"),
        (b'{"timestamp": 1769860800}', f"timestamp: {TIME}, and is a number"),
        (b'{"timestamp": "31.1.2026"}', f"timestamp: {TIME}"),
        (
            b'{"known_at": "2026-01-31T12:00:00"}',
            "known_at: needs an offset, for instance 2026-01-31T12:00:00Z or 2026-01-31T12:00:00+02:00",
        ),
        (b'{"fetures": {}}', "fetures: is not a field of a row, do you mean features?"),
        (
            b'{"income": 1}',
            "income: is not a field of a row: features belong into `features`, everything else into `tags`",
        ),
    ],
)
def test_a_prediction_that_does_not_fit_says_which_field_and_what_to_do(row: bytes, words: str) -> None:
    assert reason(row) == words


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b'{"actual": 1}', "id: is required"),
        (b'{"id": "a"}', "actual: is required"),
        (b'{"id": "a", "actual": null}', "actual: must be a text or a number or true or false, and is null"),
        (b'{"id": "a", "actuals": 1}', "actuals: is not a field of a row, do you mean actual?"),
        (b'{"id": "a", "y": 1}', "y: is not a field of a row, which has id, actual, observed_at, known_at"),
    ],
)
def test_an_outcome_that_does_not_fit_says_so_too(row: bytes, words: str) -> None:
    assert reason(row, OutcomeRow) == words


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"  ", "the body is empty"),
        (b'\xef\xbb\xbf{"id": "a"}', "the body must be JSON in UTF-8 without a byte order mark"),
        ('{"id": "a"}'.encode("utf-16"), "the body must be JSON in UTF-8 without a byte order mark"),
        (b'{"id": "\xff"}', "the body is not UTF-8"),
        (b"[" * 100_000, "the JSON is nested too deeply"),
        (
            b'{"rows": [{"id": "a"}',
            "the body is not valid JSON: it ends too early; was it cut off, or is a bracket or a quote not closed?",
        ),
        (
            b'{"rows": [{"id": "a"},\n {"id": "b", "features": {"x": 1, "y": NaN}}]}',
            f"the body is not valid JSON at rows[1].features.y (line 2, column 40): {NO_NAN}",
        ),
        (
            b'{"features": {"x": -Infinity}}',
            f"the body is not valid JSON at features.x (line 1, column 21): {NO_NAN}",
        ),
        (b'{"error": False}', "the body is not valid JSON at error (line 1, column 11): write null, true and false"),
        (b"{'id': 'a'}", "the body is not valid JSON (line 1, column 2): names and texts stand in double quotes"),
        (
            b'{"id": "a",}',
            "the body is not valid JSON at id (line 1, column 12): a comma too many stands before a closing bracket",
        ),
        (
            b'{"id": "a"}\n{"id": "b"}',
            f"the body is not valid JSON (line 2, column 1): something follows its end: {LINES}",
        ),
        (b'{"score": .5}', "the body is not valid JSON at score (line 1, column 11): this is no JSON value"),
        (b"a=1&b=2", "the body is not valid JSON (line 1, column 1): this is no JSON value"),
    ],
)
def test_what_is_not_json_says_where_and_why(body: bytes, words: str) -> None:
    assert not_json(body) == words


def test_a_name_with_brackets_and_quotes_in_it_is_one_name() -> None:
    assert place_of(rb'{"rows": [{"a": "]}"}, {"features": {"x\"]}": [1, [2], ') == r"rows[1].features.x\"]}[2]"
    assert place_of(b'{"a": {"b": 1}, "c": 2') == "c"


def test_a_message_is_short_and_printable_whatever_the_sender_wrote() -> None:
    row = msgspec.json.encode({"\n\x1b[31m" + "x" * 1000: 1})
    assert len(reason(row)) <= LONGEST and reason(row).isprintable()
    deep = b'{"features": ' + (b'{"' + b"x" * 100 + b'": [') * 200 + b"NaN"
    assert len(not_json(deep)) <= LONGEST and "x[0] (line 1" in not_json(deep)
    assert "secret" not in reason(b'{"id": 5, "error": "secret"}') + not_json(b'{"id": "secret", "x": NaN}')


def test_a_line_with_nan_is_rejected_with_the_field_and_the_others_are_kept() -> None:
    from monitor.store.catalog import Model
    from monitor.store.model_config import read_body

    config, _ = read_body("m", {"task": "binary"}, None)
    model = Model(1, 1, "m", "binary", config, {"x": "numeric"}, 0, None)
    (draft,) = ndjson.drafts(
        b'{"id": "a", "features": {"x": 1}}\n{"id": "b", "features": {"x": NaN}}\n', model, "predictions"
    )
    assert draft.columns["id"].to_pylist() == ["a"]
    (rejected,) = draft.rejected
    assert (rejected.index, rejected.message) == (
        1,
        f"the line is not valid JSON at features.x (line 1, column 31): {NO_NAN}",
    )
