"""Every feature of the step scorer has words."""

from __future__ import annotations

from masfire.adapters import whowhen
from masfire.diagnosis.model import Case
from masfire.diagnosis.sample import sample_of
from masfire.diagnosis.wording import WORDS, worded
from tests.support import logs


def test_every_feature_has_words():
    run = whowhen.convert(logs.whowhen())
    assert set(sample_of(Case(run.trace, None, group="")).features.names) == set(WORDS)


def test_measured_features_become_phrases_and_other_text_stays():
    told = worded("so: lex.guess -2.5 sd, pos.last -1.0 sd, text.code +1.2 sd, odd.name +3.0 sd (a.b +1)")
    assert told == (
        "so: far less guessing than usual in this run, not being the last, "
        "clearly more code than usual in this run, odd.name +3.0 sd (a.b +1)"
    )
