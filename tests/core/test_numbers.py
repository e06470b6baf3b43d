import pytest

from sega_utils.core import numbers


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (82.3456, "82.35"),
        (0.015, "0.015"),
        (-0.0512, "-0.051"),
        (0.0, "0.00"),
        (-1.5, "-1.50"),
        (5, "5"),
        ("5", "5"),
        ("0.612345", "0.61"),
        ("1.5e-05", "1.5e-05"),
        ("a text 1.2345", "a text 1.2345"),
        ("", ""),
        ("1.2.3", "1.2.3"),
    ],
)
def test_a_cell_is_rounded_for_reading_and_text_is_left_alone(value, shown):
    assert numbers.cell(value) == shown


def test_spreads_and_intervals_are_empty_where_there_is_nothing_to_show():
    assert numbers.spread(82.345, 0.5) == "82.34 ± 0.50" and numbers.spread(82.5, "") == "82.50"
    assert numbers.interval(1.25, -0.5, 3) == "+1.25 [-0.50, +3.00]" and numbers.interval("", "", "") == ""


def test_aligned_columns_start_where_their_headings_do():
    lines = numbers.aligned([{"arm": "a", "n": 5}, {"arm": "a longer one", "n": 10}]).splitlines()
    assert lines == ["arm           n", "a             5", "a longer one  10"]


def test_markdown_escapes_bars():
    received = numbers.markdown([{"a": "x|y", "b": 0.5}, {"a": 1, "b": ""}])
    assert received == "| a | b |\n| --- | --- |\n| x\\|y | 0.50 |\n| 1 |  |"


def test_no_rows_are_said_to_be_none():
    assert numbers.markdown([]) == numbers.aligned([]) == "none on record"
