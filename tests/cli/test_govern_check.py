"""`masfire govern check` and `schema`: a policy in words, and what in it can never take effect."""

import json
from pathlib import Path

import pytest

from masfire.cli import execute
from masfire.governance.policyfile import parse_policy
from masfire.governance.policyfile import schema as published
from masfire.governance.review import WARNING, review

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "governance" / "policy.yaml"
HEAD = "masfire: policy/v1\n"


def test_a_policy_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["govern", "check", str(EXAMPLE)]) == 0
    out = capsys.readouterr().out
    for said in (
        "place_order: quantity integer, 1..60, must be given; 2 calls a run",
        "refund*: denied",
        "20 steps, 20000 tokens, 600 seconds",
        "models, memory_read, messages, termination, events: allowed, where no other rule",
        "everything else",
        "budget, calls, retries, quarantine hold for one run: an action in no run is blocked",
        "0 warnings, 0 notes",
    ):
        assert said in out, said


ODD = {
    "agents: {}": "No agent has rules",
    "agents: {a: {tools: {x: {calls: 0}}}}": "`calls: 0` never allows it",
    "agents: {a: {tools: {x: {}}, deny: [x]}}": "It never takes effect: a/deny/x denies the same.",
    "agents: {a: {tools: {x: {}}, deny: ['tool_call:X']}}": "a/deny/tool_call:X denies the same",
    "agents: {a: {tools: {x: {arguments: {n: {otherwise: clamp}}}}}}": "no minimum or maximum to clamp to",
    "agents: {a: {tools: {x: {}}, budget: {money: 2}}}": "No tool has a `cost`",
    "agents: {a: {tools: {x: {}}}}\nrun: {money: 2}": "No tool has a `cost`",
    "agents: {a: {tools: {x: {}}}}\ntime_budget: {seconds: 1, chain: [y]}": "No agent may call 'y'",
    "agents: {a: {tools: {x: {}}}}\ntime_budget: {seconds: 1, chain: [x], latencies: {z: [1]}}": "'z' is not",
}


@pytest.mark.parametrize("text", ODD)
def test_what_can_never_take_effect_is_a_warning(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.yaml").write_text(HEAD + text)
    assert execute(["govern", "check", str(tmp_path / "p.yaml"), "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["warnings"] == 1
    assert ODD[text] in found["findings"][0]["message"]


@pytest.mark.parametrize(
    "text",
    [
        "agents: {a: {tools: {x: {}}, deny: ['*']}}",  # the exact name wins
        "agents: {a: {tools: {x: {}}}, 'b*': {deny: [x]}}",
        "agents: {a: {tools: {x: {cost: 1}}, budget: {money: 2}}}",
        "agents: {a: {models: {m: {}}, budget: {money: 2}}}\nprices: {m: {tokens_in: 1}}",
        "agents: {a: {tools: {x: {}}}}\ntime_budget: {seconds: 1, chain: [x], latencies: {x: [1]}}",
        "agents: {a: {tools: {'x*': {}}}}\nlineage: {hubs: [b]}",
    ],
)
def test_what_takes_effect_is_none(text: str) -> None:
    assert [one for one in review(parse_policy(HEAD + text)) if one.level == WARNING] == []


def test_a_wrong_policy_is_told_with_all_its_places(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(HEAD + "agents: {a: {tool: {x: {}}}}\nlineage:\n")
    assert execute(["govern", "check", str(path)]) == 2
    err = capsys.readouterr().err
    assert "p.yaml:2:14: Unknown key 'agents.a.tool'. Did you mean 'tools'?" in err
    assert "p.yaml:3:1: 'lineage' is empty" in err


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["govern", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(published()))


def test_a_closed_policy_shows_nothing_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.yaml").write_text(HEAD + "closed: true\nagents: {a: {tools: {x: {}}}}\n")
    assert execute(["govern", "check", str(tmp_path / "p.yaml")]) == 0
    assert "open" not in capsys.readouterr().out.replace("no run is open", "")
