import html.parser

import pytest

from sega_utils.report import layout


class Text(html.parser.HTMLParser):
    """Collects tags with their attributes, and text."""

    def __init__(self, page):
        super().__init__()
        self.seen, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)


def test_a_table_escapes_names_its_columns_and_can_be_scrolled_by_keyboard():
    received = layout.table([{"<b>": "<script>&", "n": 0.5}], ["<b>", "n"], label='a "name"', links=["<a>x</a>"])
    assert "<script>" not in received and "&lt;script&gt;&amp;" in received and "<a>x</a>" in received
    tags = Text(received).seen
    assert tags[0] == ("div", {"class": "wide", "role": "region", "tabindex": "0", "aria-label": 'Table: a "name"'})
    assert [attributes for tag, attributes in tags if tag == "th"] == [
        {"scope": "col"},
        {"scope": "col"},
        {"scope": "col", "data-fixed": None},
        {"scope": "row"},
    ]
    assert [part for part in Text(received).text if part.strip()] == [
        "<b>",
        "images",
        "sources",
        "<script>&",
        "0.50",
        "x",
    ]
    assert layout.table([], label="nothing") == ""


def test_rows_are_turned_without_what_is_empty_throughout():
    rows = [{"variant": "a", "fid": "", "cas": 70.0}, {"variant": "b", "fid": "", "cas": ""}]
    assert layout.turned(rows, ["variant", "fid", "cas"], "variant") == [
        {"measure": "accuracy from drawn images alone (cas), %", "a": 70.0, "b": ""}
    ]


def test_a_section_without_parts_is_none_and_contents_lead_to_the_others():
    assert layout.section("Empty", "a note", "", "") == ""
    main = layout.section("A & B?", "a note", "<ul></ul>")
    assert '<a href="#a-b">A &amp; B?</a>' in layout.contents(main) and '<section id="a-b">' in main


@pytest.mark.parametrize("heading, name", [("Did the prompts steer?", "did-the-prompts-steer"), ("  a  ", "a")])
def test_an_anchor_is_made_of_a_heading(heading, name):
    assert layout.anchor(heading) == name
