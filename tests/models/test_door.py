"""The door of a run: sampling settings, seeds of calls, cache or stub."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masfire.errors import UsageError
from masfire.models.cache import ReplyCache
from masfire.models.door import Door, Sampling, call_seed

URL = "http://127.0.0.1:1/v1/chat/completions"


def chat(**more):
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}], **more}


@given(st.integers(), st.text(), st.integers(0, 10**6))
def test_a_seed_depends_on_run_agent_and_count_alone(run, agent, count):
    seed = call_seed(run, agent, count)
    assert seed == call_seed(run, agent, count)
    assert 0 <= seed < 2**31
    assert seed != call_seed(run, agent, count + 1)
    assert seed != call_seed(run + 1, agent, count)


def test_every_request_is_sampled_above_zero_with_a_seed_of_its_own():
    door = Door(seed=7)
    first, retry = chat(temperature=0), chat(temperature=0)
    assert door.prepare(first, agent="a", count=0)
    assert door.prepare(retry, agent="a", count=1)
    assert first["temperature"] == retry["temperature"] > 0
    assert first["seed"] != retry["seed"]


def test_preparing_a_prepared_request_changes_nothing():
    door, body = Door(seed=7), chat()
    door.prepare(body, agent="a", count=0)
    assert door.prepare(dict(body), agent="a", count=0) is False


@pytest.mark.parametrize("temperature", [0, 0.0, -1, math.nan, math.inf])
def test_a_temperature_at_which_seeds_say_nothing_is_refused(temperature):
    with pytest.raises(UsageError, match="above 0"):
        Sampling(temperature=temperature)


def test_a_token_limit_lowers_whichever_field_the_request_has():
    door = Door(sampling=Sampling(max_tokens=50))
    none, small, other = chat(), chat(max_tokens=10), chat(max_completion_tokens=900)
    for body in (none, small, other):
        door.prepare(body, agent="a", count=0)
    assert none["max_tokens"] == 50
    assert small["max_tokens"] == 10
    assert other["max_completion_tokens"] == 50
    assert "max_tokens" not in other


def test_the_responses_api_gets_no_seed_and_its_own_limit():
    body = {"model": "m", "input": "hi"}
    Door(sampling=Sampling(max_tokens=50)).prepare(body, agent="a", count=0)
    assert "seed" not in body
    assert body["max_output_tokens"] == 50


def test_settings_can_be_left_to_the_system():
    body = chat(temperature=1.5)
    assert not Door(sampling=Sampling(temperature=None, seeded=False)).prepare(body, agent="a", count=0)
    assert body == chat(temperature=1.5)


def test_a_kept_reply_is_found_again_and_says_where_it_came_from(tmp_path):
    with ReplyCache(tmp_path / "c.sqlite") as cache:
        door = Door(cache=cache)
        body = chat(seed=1)
        assert door.answer(URL, body) is None
        door.keep(URL, body, b'{"choices":[]}')
        assert door.answer(URL, body) == (b'{"choices":[]}', "cache")
        assert door.answer(URL, chat(seed=2)) is None


def test_the_stub_answers_everything_and_leaves_the_cache_alone(tmp_path):
    with ReplyCache(tmp_path / "c.sqlite") as cache:
        door = Door(cache=cache, stub=lambda body: b"{}")
        assert door.answer(URL, chat()) == (b"{}", "stub")
        door.keep(URL, chat(), b"x")
        assert cache.tally().entries == 0
