import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfolder_backends.engine.spans import Cursor, Span

NAMES = st.sampled_from(["a", "b", "c", "a\udcff", "\n", "-"])
PATHS = st.lists(NAMES, max_size=4).map(tuple)
SPANS = st.builds(Span, PATHS, st.none() | NAMES, st.none() | PATHS)


@given(st.lists(SPANS), st.integers() | st.lists(st.text()))
def test_a_cursor_survives_as_ascii(spans, state):
    text = Cursor(spans, state).dump()
    assert text.isascii()
    assert Cursor.load(text) == Cursor(spans, state)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version":2,"spans":[],"state":0}', "null"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="cursor"):
        Cursor.load(text)


@given(SPANS, PATHS, PATHS)
def test_a_span_meets_what_leads_to_what_it_holds(span, path, below):
    if span.holds(path + below):
        assert span.meets(path) or (span.end is not None and path >= span.end)
        assert all(span.meets((path + below)[:depth]) for depth in range(len(path + below) + 1))


@given(PATHS, PATHS, PATHS)
def test_two_halves_hold_what_the_whole_held(start, middle, path):
    whole = Span(start)
    if middle >= start:
        first, second = Span(start, None, middle), Span(middle)
        assert whole.holds(path) == (first.holds(path) or second.holds(path))
        assert not (first.holds(path) and second.holds(path))
