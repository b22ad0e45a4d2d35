"""Numbers in words and odd digits mean what they mean; what has no one reading stays unread."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masfire.claims import claims_of, claims_of_text, relate, statement
from masfire.claims.numerals import STARTS, normal, numeral, spelled

_SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def in_words(number: int, *, british: bool, hyphen: str) -> str:
    """Return a number below 10^15 as English says it: an independent writer to hold the reader to."""
    for size, name in ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand")):
        if number >= size:
            head = f"{in_words(number // size, british=british, hyphen=hyphen)} {name}"
            rest = number % size
            link = " and " if british and 0 < rest < 100 else " "
            return head + (link + in_words(rest, british=british, hyphen=hyphen) if rest else "")
    if number >= 100:
        rest = number % 100
        link = " and " if british else " "
        tail = link + in_words(rest, british=british, hyphen=hyphen) if rest else ""
        return f"{_SMALL[number // 100]} hundred{tail}"
    if number >= 20:
        return _TENS[number // 10] + (hyphen + _SMALL[number % 10] if number % 10 else "")
    return _SMALL[number]


def numbers(text: str) -> list[str]:
    return [claim.value for claim in claims_of_text(text) if claim.kind == "number"]


@given(
    number=st.one_of(st.integers(0, 2_000), st.integers(0, 10**15 - 1)),
    british=st.booleans(),
    hyphen=st.sampled_from(["-", " ", "\u2011"]),
    dress=st.sampled_from([str.lower, str.upper, str.title, str.capitalize]),
)
def test_every_number_is_read_as_it_is_written(
    number: int, british: bool, hyphen: str, dress: Callable[[str], str]
) -> None:
    words = dress(in_words(number, british=british, hyphen=hyphen))
    assert numbers(f"we took {words} chairs.") == [str(number)]
    assert numeral(words) == str(number)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("half a dozen eggs", ["6"]), ("a half dozen eggs", ["6"]), ("a dozen and a half eggs", ["18"]),
        ("two dozen eggs", ["24"]), ("one and a half dozen eggs", ["18"]), ("a couple of days", ["2"]),
        ("the last couple of days", ["2"]), ("two and a half million euro", ["2500000"]),
        ("a million and a half", ["1500000"]), ("half a million people", ["500000"]),
        ("twelve hundred and fifty euro", ["1250"]), ("two point five percent", ["2.5"]),
        ("minus five degrees", ["-5"]), ("two thirds of them", ["2/3"]), ("a third of the order", ["1/3"]),
        ("three quarters", ["3/4"]), ("three and three quarters", ["3.75"]), ("half of them", ["1/2"]),
        ("between two hundred and five hundred chairs", ["200", "500"]), ("five and six", ["5", "6"]),
        ("a million and two million", ["1000000", "2000000"]), ("twenty to thirty chairs", ["20", "30"]),
        ("2 million euro", ["2000000"]), ("3 dozen eggs", ["36"]), ("2 and a half dozen", ["30"]),
        ("1.5 thousand", ["1500"]), ("1,250 euro", ["1250"]), ("1.250,00 euro", ["1250"]),
        ("1e3 items", ["1000"]), ("\u0663 chairs", ["3"]), ("1\u00bd hours", ["1.5"]),
        ("\u00bd box", ["0.5"]),
        ("1,25 euro", ["1.25"]), ("10.0.0.10", ["10.0.0.10"]), ("5.50 euro", ["5.5"]),
    ],
)  # fmt: skip
def test_a_quantity_has_one_value_however_it_is_said(said: str, meant: list[str]) -> None:
    assert numbers(said) == meant


@pytest.mark.parametrize(
    "said",
    [
        "dozens of eggs", "hundreds of people", "a few chairs", "half an hour", "a quarter past", "no one",
        "anyone", "every one of them", "the third chair", "a second later", "the couple", "tension", "often",
        "one's own", "a score",
    ],
)  # fmt: skip
def test_what_has_no_one_reading_is_no_number(said: str) -> None:
    assert numbers(said) == []


@pytest.mark.parametrize(
    ("said", "rank"),
    [
        ("the twenty-first of May", "21st"), ("his fourth letter", "4th"), ("the 4th letter", "4th"),
        ("her two hundred and fifth", "205th"), ("the twelfth", "12th"), ("a hundredth time", "100th"),
    ],
)  # fmt: skip
def test_a_rank_is_no_quantity(said: str, rank: str) -> None:
    assert numbers(said) == []
    assert rank in [claim.value for claim in claims_of_text(said) if claim.kind == "entity"]


def test_where_the_words_stand_and_what_they_count() -> None:
    (claim,) = [one for one in claims_of_text("We took a dozen and a half chairs.") if one.kind == "number"]
    assert (claim.text, claim.unit) == ("a dozen and a half", "chairs")
    assert [claim.kind for claim in claims_of_text("about a dozen chairs")][:2] == ["hedge", "number"]
    assert [claim.kind for claim in claims_of_text("a talk about a chair")] == ["term", "term"]


def test_names_stay_names() -> None:
    found = {claim.value for claim in claims_of_text("We met at Seven-Eleven.") if claim.kind == "entity"}
    assert found == {"seven-eleven"}


@pytest.mark.parametrize(
    ("slot", "value"),
    [("twelve", "12"), ("a dozen", "12"), ("1,250.00", "1250"), ("1.10", "1.10"), ("0012", "0012"),
     ("50%", "50"), ("two chairs", "two chairs"), ("Rome", "rome"), ("2024-05-01", "2024-05-01")],
)  # fmt: skip
def test_a_slot_that_is_a_number_is_that_number(slot: str, value: str) -> None:
    assert claims_of({"quantity": slot})[0].value == value


def test_words_and_digits_support_and_contradict_each_other() -> None:
    told = [statement("Please send 12 green chairs to Berlin.")]
    assert relate(statement("Send twelve green chairs to Berlin."), told).kind == "supports"
    assert relate(statement("Send a dozen green chairs to Berlin."), told).kind == "supports"
    assert relate(statement("Send twenty-two green chairs to Berlin."), told).kind == "contradicts"
    assert relate(statement("Send half a dozen green chairs to Berlin."), told).kind == "contradicts"


@given(st.text(alphabet="0123456789.,:/-eE+$%\u20ac\u0663\u00bd ", max_size=24))
def test_a_normal_form_is_its_own_normal_form(text: str) -> None:
    assert normal(normal(text)) == normal(text)


@given(st.lists(st.sampled_from([*sorted(STARTS), "and", "a", "of", "point", "the", "third"]), max_size=30))
def test_any_row_of_number_words_is_read_without_overlap(words: list[str]) -> None:
    text = " ".join(words)
    spans = [(claim.start, claim.end) for claim in claims_of_text(text)]
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    for claim in claims_of_text(text):
        assert text[claim.start : claim.end] == claim.text


def test_reading_stays_linear() -> None:
    def seconds(times: int) -> float:
        text = "two hundred and five thousand and a half dozen " * times
        begun = time.process_time()
        claims_of_text(text)
        return time.process_time() - begun

    seconds(50)
    assert seconds(1_000) < 100 * max(seconds(50), 1e-4)


def test_the_grammar_loads_nothing_heavy() -> None:
    code = (
        "import sys, masfire.governance; assert not {'numpy', 'text_to_num', 'pytest'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert spelled("two", 0) is not None
