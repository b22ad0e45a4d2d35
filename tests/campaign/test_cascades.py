"""Attack plans: read with all their mistakes, run with the stub, resumed, and told."""

from __future__ import annotations

import json
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from msgspec.structs import replace

from masfire.campaign import attack as attack_module
from masfire.campaign.attack import AttackPlan, Falsehood, attack_schema, load_attack
from masfire.campaign.cascades import CLEAN, AttackRuns, planter_of
from masfire.campaign.plan import Misplanned
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


def test_mistakes_are_told_with_line_column_and_the_nearest_key(tmp_path: Path) -> None:
    text = (SUITE / "stub.yaml").read_text().replace("    hub: reader", "    hbu: reader", 1)
    (tmp_path / "bad.yaml").write_text(text.replace("  - name: star", "  - name: mesh"))
    with pytest.raises(PlanError) as caught:
        load_attack(tmp_path / "bad.yaml")
    told = str(caught.value)
    assert "bad.yaml:10:5: Unknown key 'systems.0.hbu'. Did you mean 'hub'? Known: check, entry" in told
    assert "Two systems are called 'mesh'." in told
    assert "2 mistakes" in told


def test_nothing_is_counted_twice(tmp_path: Path) -> None:
    text = (
        (SUITE / "stub.yaml")
        .read_text()
        .replace("[2, 4, 6]", "[2, 2]")
        .replace("seeds: [0]", "seeds: [1, 1]")
    )
    (tmp_path / "bad.yaml").write_text(text.replace("[raw, compliance,", "[raw, raw,"))
    with pytest.raises(PlanError) as caught:
        load_attack(tmp_path / "bad.yaml")
    assert len(caught.value.mistakes) == 3
    assert "corrections: " in str(caught.value)


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


def attacked(**roles: str) -> AttackPlan:
    """Return the plan of the pipeline alone, its roles taken by other agents."""
    plan = small("linear")
    return plan.model_copy(update={"systems": [plan.systems[0].model_copy(update=roles)]})


def test_an_agent_that_no_clean_run_shows_is_refused_before_anything_is_attacked(tmp_path: Path) -> None:
    with pytest.raises(Misplanned) as caught:
        AttackRuns(attacked(entry="raeder", leaf="wrtier"), tmp_path).run("sensitivity")
    assert "no agent 'raeder'" in str(caught.value)
    assert "Did you mean 'reader'?" in str(caught.value)
    assert caught.value.location == ("systems", 0, "entry")
    assert [one.location for one in caught.value.others] == [("systems", 0, "leaf")]
    lines = (tmp_path / "attacks.jsonl").read_text().splitlines()
    assert [json.loads(line)["attack"]["placement"] for line in lines] == [CLEAN]
    seen: list[int] = []
    mended = AttackRuns(attacked(), tmp_path, resume=True, watch=lambda _phase, _done, n: seen.append(n))
    found = finding("sensitivity", mended.run("sensitivity"))
    assert found.runs == 2
    assert seen == [2, 2], "the clean run is kept"
    with pytest.raises(UsageError, match="another plan"):
        AttackRuns(attacked(leaf="clerk"), tmp_path, resume=True)


def test_only_whole_unguarded_clean_runs_prove_that_an_agent_does_not_exist(tmp_path: Path) -> None:
    strange = attacked(leaf="nobody")
    guarded = AttackRuns(strange, tmp_path / "guarded", guards=lambda: ()).run("sensitivity")
    assert [each.planted for each in guarded if each.attack.placement == "leaf"] == [-1]
    broken = AttackRuns(
        strange.model_copy(update={"budget": strange.budget.model_copy(update={"calls": 2})}),
        tmp_path / "broken",
    ).run("sensitivity")
    assert broken[0].status != "completed"
    (sentence,) = finding("sensitivity", broken).sentences
    assert "no impact factor; leaf: planted in 0 of 1 runs" in sentence


def test_all_misspelt_agents_are_told_with_their_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = one_system(tmp_path, "entry: reader", "entry: raeder", "leaf: writer", "leaf: wrtier")
    assert execute(["cascade", "sensitivity", str(plan), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert f"{plan}:9:12: systems.0.entry: 'linear' has no agent 'raeder'" in told
    assert f"{plan}:11:11: systems.0.leaf: 'linear' has no agent 'wrtier'" in told


def test_what_was_never_planted_is_no_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = one_system(tmp_path)
    unsaid = plan.read_text().replace("truth: expected.city", "truth: split")  # no text says "held"
    plan.write_text(unsaid)
    out = ["--out", str(tmp_path / "other")]
    assert execute(["cascade", "sensitivity", str(plan), *out]) == 3
    told = capsys.readouterr()
    assert "leaf: planted in 0 of 1 runs: nothing that the attacked agent was asked" in told.out
    row = next(line for line in told.out.splitlines() if " leaf " in line and "raw" in line)
    assert "%" not in row
    assert "inconclusive" in told.err
    cells = json.loads((tmp_path / "other/sensitivity.json").read_text())["cells"]
    leaf = next(cell for cell in cells if cell["placement"] == "leaf")
    assert (leaf["runs"], leaf["peak"], leaf["final"], leaf["unplanted"]) == (0, None, None, 1)


def test_no_verdict_on_corrections_that_never_came(tmp_path: Path) -> None:
    runs = AttackRuns(small("star", tasks=3, corrections=[2, 4]), tmp_path).run("inertia")
    (sentence,) = finding("inertia", runs).sentences
    assert "no correction after 2 came, so nothing is known of later ones" in sentence
    assert "at 4 in 0 of 3 runs" in sentence
    late = [each for each in runs if each.attack.correction == 4]
    alone = [each for each in runs if each.attack.correction != 2]
    assert all(each.corrected < 0 for each in late)
    nothing = finding("inertia", alone)
    assert "no correction could be put before anybody" in nothing.sentences[0]
    assert [cell.correction for cell in nothing.empty] == [4]


def test_a_later_correction_is_compared_on_the_same_runs(tmp_path: Path) -> None:
    runs = AttackRuns(small("linear", tasks=3, corrections=[2, 4]), tmp_path).run("inertia")
    (sentence,) = finding("inertia", runs).sentences
    assert "the later, the more is polluted (at 4 more than at 2 in 3 of 3 runs)" in sentence
    turned = [each for each in runs if each.attack.correction != 2] + [
        each for each in runs if each.attack.correction == 2
    ]
    assert finding("inertia", turned).sentences == (sentence,), "the order of the plan does not matter"
    few = [each for each in runs if each.attack.task == runs[0].attack.task]
    assert "nothing to compare (at 4 than at 2: 1 runs are too few)" in finding("inertia", few).sentences[0]


def test_a_verdict_on_corrections_says_when_runs_disagree(tmp_path: Path) -> None:
    runs = AttackRuns(small("linear", tasks=4, corrections=[2, 4]), tmp_path).run("inertia")
    late = [each for each in runs if each.attack.correction == 4]
    cut = {each.attack.id for each in late[:2]}

    def told(quiet: set[str]) -> str:
        changed = [
            replace(each, cascade=replace(each.cascade, stated=()))
            if each.attack.id in quiet and each.cascade
            else each
            for each in runs
        ]
        return finding("inertia", changed).sentences[0]

    assert "in some runs only (at 4 more than at 2 in 2 of 4 runs)" in told(cut)
    assert "a later one finds no more (at 4 more than at 2 in 0 of 4 runs)" in told(
        {e.attack.id for e in late}
    )


def test_runs_in_which_nobody_took_the_claim_over_count_in_the_mean(tmp_path: Path) -> None:
    clean, taken = AttackRuns(small("linear"), tmp_path).run("amplification")
    assert taken.cascade is not None
    left = replace(taken.cascade, hops=(), curve=(0.0,), reached=(), stated=(), polluted=0)
    (cell,) = finding("amplification", [clean, taken, replace(taken, cascade=left)]).cells
    assert cell.runs == 2
    assert cell.hops[-1] == cell.peak == taken.cascade.peak / 2


def test_a_run_says_what_was_done_to_it_and_where_its_clean_twin_is(tmp_path: Path) -> None:
    clean, attacked = AttackRuns(small("linear"), tmp_path).run("amplification")
    assert attacked.clean == clean.trace
    assert (tmp_path / attacked.clean).is_file()
    launch = read_trace(tmp_path / attacked.trace).header.launch
    assert launch["attack"]["placement"] == "entry"
    assert launch["attack"]["claim"] == attacked.claim == {"city": next(iter(attacked.claim.values()))}
    assert launch["attack"]["truth"] == attacked.truth != attacked.claim
    assert load_attack((tmp_path / "traces" / launch["plan"]).resolve()) == small("linear")


def test_an_attacked_run_can_be_followed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert execute(["cascade", "inertia", str(one_system(tmp_path)), "--out", str(out)]) == 0
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
    commands = [shlex.split(line)[1:] for line in shown if line.startswith("masfire ")]
    assert [command[0] for command in commands] == ["genealogy", "genealogy", "replay"]
    assert [execute(command) for command in commands] == [0, 0, 0]
    told = capsys.readouterr().out
    assert "takes it over" in told
    assert "+ reader" in told
    assert "Same as recorded" in told


def test_replays_of_attacks_plant_what_was_planted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean, plain, corrected = AttackRuns(small("linear", corrections=[2]), tmp_path / "out").run("inertia")
    assert corrected.corrected >= 0
    for each in (clean, plain, corrected):
        again = tmp_path / f"{each.attack.id}.jsonl"
        assert execute(["replay", str(tmp_path / "out" / each.trace), "--out", str(again)]) == 0
        assert "Same as recorded" in capsys.readouterr().out
        old, new = read_trace(tmp_path / "out" / each.trace), read_trace(again)
        assert [(mark.step, mark.body) for mark in new.injections] == [
            (mark.step, mark.body) for mark in old.injections
        ]
        assert new.header.launch.get("attack") == old.header.launch.get("attack")
    assert execute(["replay", str(tmp_path / "out" / plain.trace), "--without-faults"]) == 3
    assert "The record has no answer" in capsys.readouterr().out


@pytest.mark.parametrize("told", [{}, {"system": 1}, {"claim": [], "truth": {}}, {"claim": {}, "truth": {}}])
def test_a_header_that_does_not_say_what_was_planted_is_refused(told: dict[str, object]) -> None:
    whole = {"system": "s", "model": "m", "task": "t", "seed": 0, "placement": "hub", "agent": "a"}
    with pytest.raises(UsageError, match="does not say what was planted"):
        planter_of({**(whole if told else {}), **told})


def one_system(folder: Path, *changes: str) -> Path:
    """Write the stub's plan with the pipeline, one task and one wrapping alone; `changes` are old, new, …"""
    text = (SUITE / "stub.yaml").read_text().replace("limit: 5", "limit: 1")
    text = text.replace("root: ../..", f"root: {ROOT}").replace("[raw, compliance, security_fud]", "[raw]")
    head, tail = text.split("systems:\n")[0], text[text.index("tasks:") :]
    entry = text[text.index("  - name: linear") : text.index("  - name: loop")]
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in entry
        entry = entry.replace(old, new)
    file = folder / "plan.yaml"
    file.write_text(f"{head}systems:\n{entry}{tail}")
    return file


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
    plan = one_system(tmp_path)
    out = tmp_path / "out"
    arguments = ["cascade", "amplification", str(plan), "--out", str(out)]
    assert execute([*arguments, "--fail-over", "0.5"]) == 1
    content = json.loads((out / "amplification.json").read_text())
    assert content["measurement"] == "amplification"
    assert ET.parse(out / "amplification.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own file
    assert execute([*arguments, "--resume"]) == 0
    assert "Example" in CliRunner().invoke(command, ["--help"]).output
