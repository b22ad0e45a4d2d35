"""Attack plans: read with all their mistakes, run with the stub, resumed, and told."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from masfire.campaign import attack as attack_module
from masfire.campaign.attack import AttackPlan, Falsehood, attack_schema, load_attack
from masfire.campaign.cascades import CLEAN, AttackRuns
from masfire.campaign.planfile import PlanError
from masfire.campaign.spreading import finding, impact_factor
from masfire.cli import execute
from masfire.cli.cascade import command
from masfire.errors import UsageError
from masfire.trace.io import read_trace

ROOT = Path(__file__).parents[2]


SUITE = ROOT / "examples/cascade"


def small(*systems: str, tasks: int = 1, **changes: object) -> AttackPlan:
    plan = load_attack(SUITE / "stub.yaml")
    kept = [one for one in plan.systems if one.name in systems]
    tasks_of = plan.tasks.model_copy(update={"limit": tasks})
    return plan.model_copy(update={"systems": kept, "tasks": tasks_of, "packagings": ["raw"], **changes})


@pytest.mark.parametrize("name", ["desk.yaml", "stub.yaml"])
def test_the_suites_cover_the_five_systems(name: str) -> None:
    plan = load_attack(SUITE / name)
    assert [one.name for one in plan.systems] == ["linear", "loop", "dialogue", "star", "mesh"]
    assert plan.packagings == ["raw", "compliance", "security_fud"]
    assert all(one.hub and one.leaf for one in plan.systems)


def test_all_mistakes_of_a_plan_at_once(tmp_path: Path) -> None:
    text = (SUITE / "stub.yaml").read_text().replace("key: city", "kee: city").replace("only", "maybe")
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(PlanError) as caught:
        load_attack(tmp_path / "bad.yaml")
    assert "claim.kee" in str(caught.value)
    assert "claim.key" in str(caught.value)
    assert "model.stub" in str(caught.value)


def test_the_published_schema_is_the_code_and_takes_the_suites() -> None:
    published = json.loads(Path(attack_module.__file__).with_name("attack.schema.json").read_text())
    assert published == json.loads(json.dumps(attack_schema()))
    for name in ("desk.yaml", "stub.yaml"):
        jsonschema.validate(yaml.safe_load((SUITE / name).read_text()), published)


def test_the_false_value_is_never_the_true_one() -> None:
    claim = Falsehood(key="city", truth="expected.city", choices=["Rome", "Oslo"])
    for number in range(20):
        assert claim.of({"id": str(number), "expected": {"city": "rome"}}) == ("rome", "Oslo")
    assert claim.of({"id": "x", "expected": {}}) is None


def test_a_hub_spreads_what_a_leaf_keeps(tmp_path: Path) -> None:
    suite = AttackRuns(small("star"), tmp_path)
    found = finding("sensitivity", suite.run("sensitivity"))
    assert impact_factor(found.cells, "star", "stub", "raw") == 4.0
    assert "impact factor 4.00; the hub is the worse seed" in found.sentences[0]
    assert found.clean["star (stub)"].rate == 1.0
    hub = next(cell for cell in found.cells if cell.placement == "hub")
    assert hub.runs == hub.asked == 1


def test_the_truth_is_marked_and_the_measure_does_not_need_it(tmp_path: Path) -> None:
    suite = AttackRuns(small("linear"), tmp_path)
    clean, attacked = suite.run("amplification")
    assert clean.attack.placement == CLEAN
    assert clean.useful
    assert clean.cascade is None
    trace = read_trace(tmp_path / "traces" / f"{attacked.attack.id}.jsonl")
    assert [mark.step for mark in trace.injections] == [attacked.planted]
    assert attacked.cascade is not None
    assert attacked.cascade.final == 1.0
    assert not attacked.useful


def test_what_was_done_is_not_done_again_and_a_cut_line_is(tmp_path: Path) -> None:
    plan = small("linear", corrections=[2])
    first = AttackRuns(plan, tmp_path).run("inertia")
    file = tmp_path / "attacks.jsonl"
    whole = file.read_bytes()
    with pytest.raises(UsageError, match="--resume"):
        AttackRuns(plan, tmp_path)
    with pytest.raises(UsageError, match="another plan"):
        AttackRuns(small("linear", corrections=[3]), tmp_path, resume=True)
    again: list[str] = []
    AttackRuns(plan, tmp_path, resume=True, watch=lambda *seen: again.append(str(seen))).run("inertia")
    assert again == []
    file.write_bytes(whole[:-40])
    last = AttackRuns(plan, tmp_path, resume=True, watch=lambda *seen: again.append(str(seen))).run("inertia")
    assert len(again) == 1
    assert [each.cascade and each.cascade.curve for each in last] == [
        each.cascade and each.cascade.curve for each in first
    ]
    corrected = next(each for each in first if each.attack.correction)
    assert corrected.corrected > corrected.planted >= 0


def test_the_command_writes_its_files_and_judges_a_threshold(tmp_path: Path) -> None:
    text = (
        (SUITE / "stub.yaml")
        .read_text()
        .replace("limit: 5", "limit: 1")
        .replace("root: ../..", f"root: {ROOT}")
    )
    head, tail = text.split("systems:\n")[0], text[text.index("tasks:") :]
    entry = text[text.index("  - name: linear") : text.index("  - name: loop")]
    (tmp_path / "plan.yaml").write_text(f"{head}systems:\n{entry}{tail}")
    out = tmp_path / "out"
    arguments = ["cascade", "amplification", str(tmp_path / "plan.yaml"), "--out", str(out)]
    assert execute([*arguments, "--fail-over", "0.5"]) == 1
    content = json.loads((out / "amplification.json").read_text())
    assert content["measurement"] == "amplification"
    assert ET.parse(out / "amplification.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own file
    assert execute([*arguments, "--resume"]) == 0
    assert "Example" in CliRunner().invoke(command, ["--help"]).output
