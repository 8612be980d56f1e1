"""Figures, numbers and addresses, without a server."""

import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards import assets, figures, formats, matrices, words
from dashboards.formats import Zone
from dashboards.links import Links, place, read_place
from dashboards.pages import alert, stretch
from dashboards.render import script_json, told
from dashboards.sparkline import sparkline
from monitor import clock
from monitor.api.hosts import is_clean
from monitor.clock import DAY, HOUR
from monitor.errors import Invalid


@given(st.text(max_size=60))
def test_json_in_a_page_cannot_end_its_element_and_reads_back(text: str) -> None:
    shown = script_json({"name": text.encode("utf-8", "replace").decode()})
    assert "<" not in shown and "&" not in shown
    assert json.loads(str(shown))["name"] == text.encode("utf-8", "replace").decode()


@given(st.text(min_size=1, max_size=60))
def test_the_address_of_any_feature_passes_the_gate(name: str) -> None:
    name = name.encode("utf-8", "replace").decode()
    url = Links().feature("m", name)
    assert is_clean(url.encode())
    assert "<" not in url and '"' not in url


@given(st.text(max_size=60))
def test_a_label_holds_no_html(name: str) -> None:
    label = figures.plain(name, 20)
    assert "<" not in label and ">" not in label


def test_provisional_windows_are_hollow_and_join_the_line() -> None:
    figure = figures.line(["a", "b", "c"], [1.0, 2.0, 3.0], provisional=[False, False, True])
    final, open_ = figure["data"]
    assert final["y"] == [1.0, 2.0, None]
    assert open_["y"] == [None, 2.0, 3.0] and open_["marker"]["symbol"] == "circle-open"


def test_a_gap_in_the_values_is_a_gap_in_their_band() -> None:
    low, high = [1.0, 2.0, None, None, 3.0, 4.0], [5.0, 6.0, None, 9.0, 7.0, 8.0]
    band, line = figures.line(list("abcdef"), [2.0, 3.0, None, None, 5.0, 6.0], low=low, high=high)["data"]
    assert band["x"] == ["a", "b", "b", "a", "a", None, "e", "f", "f", "e", "e"]
    assert band["y"] == [1, 2, 6, 5, 1, None, 3, 4, 8, 7, 3]
    assert band["fill"] == "toself" and band["hoverinfo"] == "skip" and line["y"] == [2, 3, None, None, 5, 6]


def test_a_figure_of_windows_without_values_is_still_json() -> None:
    figure = figures.line(["a", "b"], [float("nan"), None], low=[None, None], high=[None, None], coverage=[0.5, None])
    assert json.loads(str(script_json(figure)))["data"][0]["y"] == [None, None]


def test_shares_that_hardly_differ_do_not_fill_the_chart() -> None:
    near_zero = figures.line(["a", "b"], [0.0, 0.0], low=[0.0, 0.0], high=[0.0002, 0.0001], unit="share", zero=True)
    assert near_zero["layout"]["yaxis"]["range"] == [0, 0.01]
    near_one = figures.line(["a", "b"], [0.999, 1.0], unit="share")
    assert near_one["layout"]["yaxis"]["range"] == [0.99, 1]
    assert "range" not in figures.line(["a", "b"], [0.5, 0.6], unit="share")["layout"]["yaxis"]


def test_a_level_is_named_in_the_legend_and_a_far_one_does_not_press_the_lines_flat() -> None:
    drawn = figures.between(figures.lines(["a", "b"], [("p95", [10.0, 20.0])], "ms"), "a", "c")
    near, far = figures.level(drawn, 30, "budget"), figures.level(drawn, 3000, "budget")
    assert near["data"][-1]["x"] == ["a", "c"] and near["layout"]["showlegend"]
    assert "range" not in near["layout"]["yaxis"] and far["layout"]["yaxis"]["range"][1] < 30


def test_backticks_become_code_and_names_stay_escaped() -> None:
    assert told("`<b>` moved") == "<code>&lt;b&gt;</code> moved"
    assert told("a ` b") == "a ` b"
    assert told("67 % of `67 % -> 3`, 0.8 -> 0.7") == "67\N{NO-BREAK SPACE}% of <code>67 % -&gt; 3</code>, 0.8 → 0.7"


def test_instants_in_sentences_are_times_like_the_others_and_examples_stay() -> None:
    utc = "2 Mar 2026, 01:00 UTC"
    tag = f'<time datetime="2026-03-02T01:00:00Z" title="{utc}" data-wall="UTC">{utc}</time>'
    assert told("No row has had `a` since 2026-03-02T01:00:00Z.") == f"No row has had <code>a</code> since {tag}."
    assert told("the last was made at 2026-03-02T01:00:00Z") == f"the last was made at {tag}"
    assert told("since 2026-13-02T01:00:00Z") == "since 2026-13-02T01:00:00Z"
    assert told("for instance 2026-03-02T01:00:00Z") == "for instance 2026-03-02T01:00:00Z"


def test_times_that_sentences_spell_out_are_times_like_the_others() -> None:
    at = clock.parse("2026-03-14T23:00:00Z")
    tag = '<time datetime="2026-03-14T23:00:00Z" title="14 Mar 2026, 23:00 UTC" data-wall="Europe/Berlin">{}</time>'
    tag = tag.format("15 Mar 2026, 00:00")
    said = f"fell, since {clock.spoken(at, 'Europe/Berlin')}; accuracy 0.70 -> 0.34 (and 1 more)"
    assert told(said) == f"fell, since {tag}; accuracy 0.70 → 0.34 (and 1 more)"
    assert told(f"since {clock.spoken(at, 'Etc/GMT+3')}").count("<time") == 1
    for other in ("since Sunday 2026-13-15 00:00 UTC", "since Sunday 2026-03-15 00:00 No/Where", "since Sunday"):
        assert told(other) == other


def test_shares_of_levels_have_ticks_that_differ() -> None:
    axis = matrices.levels(["a", "b"], [0.02, 0.01], None)["layout"]["xaxis"]
    assert axis["tickformat"] == "~%", "half a percent is a tick, and is not rounded to the next"


def test_bins_of_unequal_width_compare_by_density() -> None:
    figure = matrices.histogram([0, 1, 3], [0.5, 0.5], [0.25, 0.75])
    bars, outline = figure["data"]
    assert bars["y"] == [0.5, 0.25] and bars["customdata"] == [0.5, 0.5]
    assert outline["y"] == [0.25, 0.375, 0.375]


def test_a_bin_of_one_value_is_drawn_as_wide_as_its_neighbour_lets_it() -> None:
    whole = matrices.histogram([1, 2, 4, math.nextafter(4, 5)], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5])
    bars, outline = whole["data"]
    assert bars["x"] == [1.5, 3, 5] and bars["width"] == [1, 2, 2] and bars["y"] == [0.25, 0.25, 0.125]
    assert outline["x"] == [1, 2, 4, 6] and outline["customdata"] == [0.25, 0.25, 0.5]
    assert whole["edges"] == [1, 2, 4, 4], "who copies the numbers gets the bins as they are"
    many_zeros = matrices.histogram([0, math.nextafter(0, 1), 8, 10], [0.5, 0.25, 0.25], None)
    assert many_zeros["data"][0]["width"] == [4, 4, 2] and many_zeros["data"][0]["y"] == [0.125, 0.0625, 0.125]
    constant = matrices.histogram([5, math.nextafter(5, 6)], [1], [1])
    assert constant["data"][0]["width"] == [1] and constant["data"][0]["y"] == [1]


def test_a_sparkline_marks_windows_without_rows_and_holds_no_names() -> None:
    svg = sparkline([None, 0, 5, 10], "10 & <b>")
    assert svg.count('class="none"') == 2
    assert "10 &amp; &lt;b&gt;" in svg


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "", "–"),
        (float("nan"), "", "–"),
        (0.12345, "", "0.123"),
        (1.5, "", "1.50"),
        (99.94, "ms", "99.9\u00a0ms"),
        (123.4, "ms", "123\u00a0ms"),
        (12345, "", "12\u202f345"),
        (1.6e8, "", "1.6·10⁸"),
        (-0.5, "", "\u22120.500"),
        (0.999, "share", "99.9\u00a0%"),
        (1.0, "share", "100\u00a0%"),
        (0.0001, "share", "<\u00a00.1\u00a0%"),
    ],
)
def test_numbers_read_well(value: float | None, unit: str, text: str) -> None:
    assert formats.number(value, unit) == text


def test_times_are_shown_in_the_models_zone() -> None:
    at = clock.parse("2013-03-10T05:00:00Z")
    zone = Zone("America/New_York")
    assert zone.minute(at) == "10 Mar 2013, 00:00"
    assert zone.axis(at) == "2013-03-10 00:00"


@pytest.mark.parametrize("window", [HOUR, 6 * HOUR, DAY, 7 * DAY])
@pytest.mark.parametrize("length", [DAY, 7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY, 6 * 365 * DAY])
def test_a_step_is_whole_windows_and_draws_few_points(window: int, length: int) -> None:
    step = stretch.step(length, window, stretch.POINTS)
    assert step % window == 0
    assert length / step <= stretch.POINTS


def test_places_of_lists_survive_an_address() -> None:
    assert read_place(place((17, "alert_x-1"))) == (17, "alert_x-1")
    assert read_place(None) is None and read_place("") is None
    for wrong in ("x", "1", "-1-a", "9" * 30 + "-a"):
        with pytest.raises(Invalid):
            read_place(wrong)


def test_evidence_is_told_in_words_and_as_a_bar() -> None:
    assert alert.meter(1.0) == 50 and alert.meter(1e9) == 100 and alert.meter(1e-9) == 0 and alert.meter(None) == 0
    assert "overwhelming" in alert.certainty(5000.0)
    assert alert.certainty(2.0).startswith("2.00 times")
    assert "fading" in alert.certainty(0.5)


def test_every_asset_is_served_compressed_and_kept() -> None:
    for path in (assets.PLOTLY, *(assets.static_url(name) for name in assets.OURS)):
        for accepted, encoding in (("br, gzip", "br"), ("gzip;q=1", "gzip"), ("", None)):
            answer = assets.response(path, accepted)
            assert answer is not None
            assert answer.headers.get("content-encoding") == encoding
            assert "immutable" in answer.headers["cache-control"]
    assert assets.response("../routes.py", "") is None


def test_every_performance_metric_is_measured_for_its_task() -> None:
    from monitor.stats.measure import METRICS

    for task, names in words.PERFORMANCE.items():
        for name in (*names, words.CALIBRATION[task]):
            assert task in METRICS[name].tasks
    assert {one.drawn for one in words.CAUSES.values()} <= METRICS.keys()
    assert METRICS.keys() <= words.METRICS.keys()


def test_sentences_run_from_left_to_right_whatever_name_they_begin_with() -> None:
    """An element `bdi` takes its direction from its first letter: right for a name, wrong for a sentence about one."""
    for file in Path(words.__file__).with_name("templates").glob("*.html"):
        assert not re.findall(r"<bdi>\{\{[^}]*\| told", file.read_text()), file.name
