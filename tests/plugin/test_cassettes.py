"""Record modes: tests answered from cassettes as VCR's modes have it, and replayed by their traces."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from masfire.cli import execute
from masfire.trace.io import read_trace
from tests.support.fake_openai import FakeOpenAI
from tests.support.project import configure

pytest_plugins = ["pytester"]

PAIR = """
import openai, pytest
import masfire as mf

def ask(who, text, stream=False):
    with mf.agent(who), openai.OpenAI(base_url="{url}", api_key="sk-test", max_retries=0) as client:
        sent = client.chat.completions.create(
            model="m", messages=[{"role": "system", "content": "You are " + who},
                                 {"role": "user", "content": text}], stream=stream)
        if stream:
            return "".join(c.choices[0].delta.content or "" for c in sent if c.choices)
        return sent.choices[0].message.content

def test_talk(masfire):
    first = ask("planner", "{question}")
    assert ask("writer", first, stream=True).startswith("said ")
    assert ask("planner", "{question}") != first  # the same request, another draw
"""


@pytest.fixture
def server(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    configure(pytester, monkeypatch)
    draws = random.Random(4)
    with FakeOpenAI(lambda path, body: f"said {draws.randrange(10**9)}") as served:
        write(pytester, served)
        yield served


def write(pytester: pytest.Pytester, server: FakeOpenAI, question: str = "what now?") -> None:
    pytester.makepyfile(test_pair=PAIR.replace("{url}", server.url).replace("{question}", question))


def cassette(pytester: pytest.Pytester) -> Path:
    return pytester.path / "masfire_traces" / "test_pair" / "test_talk.jsonl"


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*options)


def test_none_without_a_cassette_says_how_to_record_one_and_asks_nobody(
    pytester: pytest.Pytester, server: FakeOpenAI
) -> None:
    result = run(pytester, "--masfire-record=none")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Divergence: *no further model request of planner*"])
    result.stdout.fnmatch_lines(["*There is no cassette *test_talk.jsonl; record it*--masfire-record=once*"])
    assert server.requests == []
    assert not cassette(pytester).exists()


def test_once_records_then_repeats_without_a_model(pytester: pytest.Pytester, server: FakeOpenAI) -> None:
    run(pytester, "--masfire-record=once").assert_outcomes(passed=1)
    assert len(server.requests) == 3
    recorded = cassette(pytester).read_bytes()
    for mode in ("once", "none"):
        run(pytester, f"--masfire-record={mode}").assert_outcomes(passed=1)
    assert len(server.requests) == 3
    assert cassette(pytester).read_bytes() == recorded
    [new] = (pytester.path / ".masfire" / "traces").glob("*.jsonl")
    sources = [step.body.draw.source for step in read_trace(new) if step.kind == "model_reply"]
    assert sources == ["replay"] * 3


def test_a_new_request_is_a_divergence_under_once_and_recorded_under_new_episodes(
    pytester: pytest.Pytester, server: FakeOpenAI
) -> None:
    run(pytester, "--masfire-record=once").assert_outcomes(passed=1)
    write(pytester, server, question="what then?")
    result = run(pytester, "--masfire-record=once")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ['*messages[[]1[]].content is "what now?", not "what then?"*--masfire-record=all*']
    )
    assert len(server.requests) == 3
    run(pytester, "--masfire-record=new_episodes").assert_outcomes(passed=1)
    assert len(server.requests) > 3
    asked = len(server.requests)
    run(pytester, "--masfire-record=none").assert_outcomes(passed=1)
    assert len(server.requests) == asked


def test_all_records_anew_every_time(pytester: pytest.Pytester, server: FakeOpenAI) -> None:
    for times in (1, 2):
        run(pytester, "--masfire-record=all").assert_outcomes(passed=1)
        assert len(server.requests) == 3 * times


def test_a_divergence_is_no_expected_failure(pytester: pytest.Pytester, server: FakeOpenAI) -> None:
    pytester.makepyfile(
        test_pair=PAIR.replace("{url}", server.url).replace(
            "def test_talk", "@pytest.mark.xfail(strict=False)\ndef test_talk"
        )
    )
    run(pytester, "--masfire-record=none").assert_outcomes(failed=1)


def test_a_cassette_without_content_is_refused_before_anything_runs(
    pytester: pytest.Pytester, server: FakeOpenAI
) -> None:
    result = run(pytester, "--masfire-record=once", "--masfire-privacy=content-off")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*a cassette without content holds no answers*"])


def test_the_trace_of_a_test_is_replayed_by_the_command(
    pytester: pytest.Pytester, server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run(pytester).assert_outcomes(passed=1)
    [trace] = (pytester.path / ".masfire" / "traces").glob("*.jsonl")
    monkeypatch.chdir(pytester.path)
    capsys.readouterr()
    assert execute(["replay", str(trace), "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["same"], told["steps"], told["answered"]) == (True, 8, 3)
    assert len(server.requests) == 3

    write(pytester, server, question="what then?")
    assert execute(["replay", str(trace)]) == 3
    said = capsys.readouterr().out
    assert 'step 0 (user, message): content is "what then?"; the record has "what now?"' in said
    assert len(server.requests) == 3


def test_the_command_stops_where_it_is_told_to(
    pytester: pytest.Pytester, server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run(pytester).assert_outcomes(passed=1)
    [trace] = (pytester.path / ".masfire" / "traces").glob("*.jsonl")
    monkeypatch.chdir(pytester.path)
    capsys.readouterr()
    assert execute(["replay", str(trace), "--until", "4"]) == 0
    said = capsys.readouterr().out
    assert "Stopped after step 4" in said
    assert '"content": "You are writer"' in said
    assert len(server.requests) == 3


def test_contracts_judge_no_run_that_left_its_cassette(pytester: pytest.Pytester, server: FakeOpenAI) -> None:
    rules = "masfire: contract/v1\ncontracts:\n  - {id: silence, pattern: never, when: {kind: message}}\n"
    (pytester.path / "rules.yaml").write_text(rules)
    source = (pytester.path / "test_pair.py").read_text()
    marked = source.replace("def test_talk", '@pytest.mark.masfire(contracts=["rules.yaml"])\ndef test_talk')
    (pytester.path / "test_pair.py").write_text(marked)
    result = run(pytester, "--masfire-record=none")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Divergence: *"])
    result.stdout.no_fnmatch_line("*ContractViolat*")
    result.stdout.no_fnmatch_line("*silence*violated*")
