"""No text can act on a terminal."""

from hypothesis import given
from hypothesis import strategies as st

from masfire.reporting.printable import printable


@given(st.text(st.characters(codec=None)))
def test_everything_is_printable(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()


@given(st.text(), st.integers(2, 50))
def test_a_limit_is_kept_before_escaping(text: str, limit: int) -> None:
    assert len(printable("x" * len(text), limit=limit)) <= limit


def test_plain_text_stays_and_the_rest_is_visible() -> None:
    assert printable("Zürich, 12 €") == "Zürich, 12 €"
    assert printable("a\x1b[31m\n\ud800\u202e\u2028") == "a\\x1b[31m\\n\\ud800\\u202e\\u2028"
    assert printable("a\nb", lines=True) == "a\nb"
    assert printable("0123456789", limit=5) == "01…89"
