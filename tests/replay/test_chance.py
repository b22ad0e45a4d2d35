"""Random draws and clock reads of the system's own code are recorded when asked for, and repeated."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from masfire.errors import Divergence
from masfire.recorder import agent
from masfire.recorder.player import Player
from masfire.session import run
from masfire.trace.difference import trace_difference
from masfire.trace.io import read_trace, save_trace
from tests.support import whims
from tests.support.fake_openai import FakeOpenAI


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as served:
        yield served


def talk(server: FakeOpenAI, who: str) -> str:
    with agent(who), openai.OpenAI(base_url=server.url, api_key="x", max_retries=0) as sdk:
        asked = [{"role": "user", "content": whims.prompt()}]
        return str(sdk.chat.completions.create(model="m", messages=asked).choices[0].message.content)  # type: ignore[arg-type]


def test_what_was_drawn_and_read_is_drawn_and_read_again(server: FakeOpenAI, tmp_path: Path) -> None:
    with run(path=tmp_path / "t.jsonl", draws=True) as record:
        first = [talk(server, "a"), talk(server, "b"), talk(server, "a")]
    assert len(set(first)) == 3
    stored = read_trace(tmp_path / "t.jsonl")
    assert stored.draws == record.trace.draws
    assert {drawn.source for drawn in stored.draws} == {"random", "bits", "uuid", "time", "monotonic"}
    assert stored.blind().draws == ()
    save_trace(stored, tmp_path / "copy.jsonl")
    assert read_trace(tmp_path / "copy.jsonl") == stored
    with run(replay=Player(stored)) as again:
        assert [talk(server, "a"), talk(server, "b"), talk(server, "a")] == first
    assert trace_difference(record.trace, again.trace) is None
    assert len(server.requests) == 3


def test_each_agent_has_draws_of_its_own_whatever_the_order_of_the_threads(server: FakeOpenAI) -> None:
    def work() -> list[str]:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda who: talk(server, f"agent {who}"), range(4)))

    with run(draws=True, task="nothing in particular") as record:
        first = work()
    for _ in range(3):
        with run(replay=Player(record.trace), task="nothing in particular") as again:
            assert work() == first
        assert trace_difference(record.trace, again.trace) is None


def test_without_the_wish_nothing_is_replaced_and_a_whim_is_a_divergence(server: FakeOpenAI) -> None:
    with run() as record:
        talk(server, "a")
    assert record.trace.draws == ()
    with pytest.raises(Divergence), run(replay=Player(record.trace)):
        talk(server, "a")


def test_after_the_run_every_name_is_what_it_was() -> None:
    before = dict(vars(whims))
    with run(draws=True):
        assert whims.random is not sys.modules["random"]
        assert whims.uuid4 is not sys.modules["uuid"].uuid4
        assert whims.random.Random is sys.modules["random"].Random
        assert openai._base_client.random is sys.modules["random"].random  # a library keeps its own
    assert dict(vars(whims)) == before
