"""A plan is read strictly, and everything that is wrong with it is said at once, with lines."""

import json
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from masfire.campaign.plan import plan_schema
from masfire.campaign.planfile import PlanError, dump_plan, load_plan, parse_plan
from masfire.campaign.summary import summary_schema
from masfire.errors import UsageError
from tests.support.plans import GOOD


def mistakes(text: str) -> list[tuple[int, str]]:
    with pytest.raises(PlanError) as caught:
        parse_plan(text)
    assert all(
        f"plan.yaml:{m.line}:{m.column}: {m.what}".replace(":0:", ":") in str(caught.value)
        for m in caught.value.mistakes
    )
    return [(mistake.line, mistake.what) for mistake in caught.value.mistakes]


def test_the_smallest_plan() -> None:
    plan = parse_plan(GOOD)
    assert (plan.faults, plan.seeds, plan.times, plan.points) == (["all"], [0], ["once"], "rotate")
    assert plan.tasks.source == "tasks.jsonl"
    assert plan.control_seeds == [0, 1, 2]
    assert plan.model.endpoint == "local"


def test_short_forms_mean_the_long_ones() -> None:
    short = parse_plan(GOOD + "faults: hallucination@a\ntimes: 3\n")
    long = parse_plan(
        GOOD.replace("tasks: tasks.jsonl", "tasks: {source: tasks.jsonl}")
        + 'faults: ["hallucination@a"]\ntimes: ["3"]\n'
    )
    assert short == long
    assert short.digest == long.digest


def test_every_mistake_at_once_with_its_line() -> None:
    text = (
        GOOD.replace("check:", "chek:").replace("pkg.mod:run", "pkg.mod.run")
        + "faults: [mesage_storm, 'message_storm?copes=3']\n"
        + "seeds: [0, 0]\ntimes: [once, evry]\nmodel:\n  temperature: 0\n  slots: many\nseeds: [1]\n"
    )
    found = mistakes(text)
    assert [line for line, _ in found] == [3, 5, 6, 8, 8, 10, 12, 13, 14]
    said = dict(found)
    assert said[3] == "Key 'systems.0.check' is missing."
    assert "'pkg.mod.run' names no object" in said[5]
    assert "Unknown key 'systems.0.chek'. Did you mean 'check'?" in said[6]
    assert any("Did you mean 'message_storm'?" in what for _, what in found)
    assert any("It takes: copies=0" in what for _, what in found)
    assert "evry" in said[10]
    assert "greater than 0 (got 0)" in said[12]
    assert "(got 'many')" in said[13]
    assert said[14] == "Key 'seeds' is already given in line 9."


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 1, "A plan is a mapping"),
        ("- a\n", 1, "A plan is a mapping"),
        ("masfire: plan/v1\n  x: [\n", 2, "This is no YAML"),
        (GOOD + "faults: &a [all]\nseeds: *a\n", 9, "aliases are not allowed"),
        (GOOD + "record: " + "[" * 40 + "]" * 40 + "\n", 8, "nested too deeply"),
        (GOOD.replace("plan/v1", "plan/v9"), 1, "'plan/v1'"),
        (GOOD + "seeds: [!!python/object:os.system 1]\n", 8, "seeds.0"),
        (GOOD + "policy: p.yaml\n", 8, "Unknown key 'policy'"),
        (GOOD.replace("tasks:", "systms: []\ntasks:"), 7, "Did you mean 'systems'?"),
        (GOOD + "seeds: [1.5]\n", 8, "seeds.0"),
        (GOOD + "seeds: ['1']\n", 8, "seeds.0"),
        (GOOD + "budget: {seconds: .nan}\n", 8, "budget.seconds"),
        (GOOD + "model: {stub: sometimes}\n", 8, "'off', 'only' or 'beside'"),
    ],
)
def test_a_bad_plan_says_where(text: str, line: int, what: str) -> None:
    found = mistakes(text)
    assert any(number == line and what in said for number, said in found), found


def test_two_systems_of_one_name(tmp_path: Path) -> None:
    twice = GOOD.replace("tasks:", GOOD.split("systems:\n")[1].split("tasks:")[0] + "tasks:")
    assert mistakes(twice) == [(7, "Two systems are called 'one'.")]


def test_a_missing_or_huge_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_plan(tmp_path / "none.yaml")
    (tmp_path / "huge.yaml").write_text("#" * ((1 << 20) + 1))
    with pytest.raises(UsageError, match="larger than"):
        load_plan(tmp_path / "huge.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        load_plan(tmp_path / "bytes.yaml")


def test_a_plan_as_run_is_the_same_plan_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    file = tmp_path / "plans" / "plan.yaml"
    file.write_text(GOOD + "times: [once, every]\nmodel: {temperature: null}\n")
    plan = load_plan(file)
    (tmp_path / "out").mkdir()
    dump_plan(plan, tmp_path / "out" / "plan.yaml")
    again = load_plan(tmp_path / "out" / "plan.yaml")
    assert again == plan
    assert again.digest == plan.digest
    assert plan.root == str(tmp_path / "plans")


def test_workers_and_place_do_not_change_what_a_plan_is() -> None:
    plan = parse_plan(GOOD)
    assert parse_plan(GOOD + "executor: {workers: 7}\nroot: /x\n").digest == plan.digest
    assert parse_plan(GOOD + "seeds: [1]\n").digest != plan.digest


@pytest.mark.parametrize(
    ("name", "schema"), [("plan.schema.json", plan_schema), ("summary.schema.json", summary_schema)]
)
def test_published_schemas_are_current(name: str, schema: object) -> None:
    stored = json.loads(resources.files("masfire.campaign").joinpath(name).read_text(encoding="utf-8"))
    assert callable(schema)
    assert stored == schema()
    jsonschema.Draft202012Validator.check_schema(stored)


def test_the_published_schema_accepts_what_the_reader_accepts() -> None:
    plan = {
        "masfire": "plan/v1",
        "systems": [{"name": "a", "system": "m:b", "run": "m:r", "check": "m:c"}],
        "tasks": "t.jsonl",
        "faults": "all",
        "times": 3,
    }
    jsonschema.validate(plan, plan_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**plan, "sees": [1]}, plan_schema())
