"""The shipped packs: every contract keeps what its examples promise, and clean runs are left in peace."""

import contextlib
import importlib
from pathlib import Path

import openai
import pytest

import masfire
from examples.order_desk import desk
from masfire.contracts.compilation import Entry
from masfire.contracts.engine import judge
from masfire.contracts.examples import Examples, judge_examples
from masfire.contracts.loader import load_contracts, load_entries, pack, pack_names
from masfire.contracts.model import Status, Verdict
from masfire.models.door import Door
from masfire.models.endpoint import Endpoint
from masfire.models.stub import Copier
from masfire.taxonomy import load as load_taxonomy

ROOT = Path(__file__).resolve().parents[2]
DESK = ROOT / "examples" / "order_desk" / "contracts.yaml"
SYSTEMS = ("linear", "loop", "dialogue", "star", "mesh")
TASK = desk.load("dev")[0]

ENTRIES = [*load_entries(*pack_names()), *load_entries(DESK)]


@pytest.fixture(autouse=True)
def nobody():
    """No request may leave: the copier (a scripted model) answers all of them."""
    with Endpoint("http://127.0.0.1:9/v1", "none", "none").exported():
        yield


def of(entry: Entry) -> str:
    return entry.contract.id


def verdicts(system: str, fault: str = "") -> dict[str, Verdict]:
    module = importlib.import_module(f"examples.order_desk.{system}")
    door = Door(stub=Copier(slot=2048))
    with (
        masfire.run([fault] if fault else [], task=TASK["email"], door=door) as run,
        contextlib.suppress(openai.BadRequestError),
    ):
        module.run(module.build(), TASK)
    contracts = [*(contract for name in pack_names() for contract in pack(name)), *load_contracts(DESK)]
    return {verdict.contract: verdict for verdict in judge(run.trace.blind(), contracts)}


def violated(found: dict[str, Verdict]) -> set[str]:
    return {name for name, verdict in found.items() if verdict.status is Status.VIOLATED}


def test_the_seven_packs_are_there() -> None:
    assert pack_names() == [
        "capability", "interface", "messages", "misuse", "provenance", "termination", "tools",
    ]  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES, ids=of)
def test_a_contract_says_what_it_is_for_and_has_examples(entry: Entry) -> None:
    names = {fault.name for fault in load_taxonomy().entries}
    examples = entry.examples
    assert entry.contract.description
    assert set(entry.contract.catches) <= names
    assert examples is not None
    assert examples.clean is not None
    assert examples.violating is not None
    assert examples.vacuous is not None or examples.pending is not None


@pytest.mark.parametrize("entry", ENTRIES, ids=of)
def test_its_examples_are_what_they_promise(entry: Entry) -> None:
    assert entry.examples is not None
    outcomes = judge_examples(entry.contract, entry.examples)
    assert [outcome.wrong for outcome in outcomes] == [""] * len(outcomes)
    assert {outcome.example for outcome in outcomes} >= {"clean", "violating"}


@pytest.mark.parametrize("entry", ENTRIES, ids=of)
def test_an_example_under_another_name_is_told(entry: Entry) -> None:
    assert entry.examples is not None
    swapped = Examples(clean=entry.examples.violating, violating=entry.examples.clean)
    assert all(outcome.wrong for outcome in judge_examples(entry.contract, swapped))


def test_every_fault_but_the_contradiction_has_a_contract_meant_for_it() -> None:
    names = {fault.name for fault in load_taxonomy().entries}
    meant = {fault for entry in ENTRIES for fault in entry.contract.catches}
    assert names - meant == {"instruction_logic_conflict"}


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_fault_free_run_of_an_example_system_violates_nothing(system: str) -> None:
    found = verdicts(system)
    assert violated(found) == set()
    assert [name for name, verdict in found.items() if verdict.status is Status.INCONCLUSIVE] == []
    assert sum(verdict.status is Status.SATISFIED for verdict in found.values()) >= 20


@pytest.mark.parametrize(
    ("fault", "contract"),
    [
        ("message_cycle@reader", "no-message-to-oneself"),
        ("message_storm@reader?copies=8", "no-message-storm"),
        ("message_broadcast_amplification@clerk", "few-recipients"),
        ("role_ambiguity@reader", "one-role-a-prompt"),
        ("blind_trust@clerk", "prompts-do-not-order-blind-trust"),
        ("hallucination@reader", "messages-are-supported"),
        ("parameter_filling_error@clerk", "arguments-are-the-customers"),
        ("tool_format_error@clerk", "replies-keep-the-format"),
        ("critical_information_loss@reader", "replies-keep-the-format"),
        ("inexecutable_plan@planner", "plan-starts-with-the-stock"),
        ("tool_selection_error@clerk", "stock-before-booking"),
        ("memory_loss@planner", "prompts-keep-their-examples"),
        ("context_length_violation@reader", "prompts-are-short"),
        ("instruction_ambiguity@user", "mail-says-what-it-wants"),
    ],
)
def test_a_fault_in_the_pipeline_is_noticed(fault: str, contract: str) -> None:
    assert contract in violated(verdicts("linear", fault))


def test_the_wheel_carries_the_packs() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert '"contracts" = "masfire/data/contracts"' in text
