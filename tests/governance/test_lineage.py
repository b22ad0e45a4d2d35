"""The lineage guard: what follows from the task passes, what contradicts it does not, the rest by mode."""

import time
from typing import Any

import pytest

from masfire.governance import AgentRules, Capability, Governor, Lineage, Outcome, Policy

MAIL = "Please reserve 12 green chairs for our office in Berlin."
CLASSES = (("green chairs", "oak tables", "steel kettles"), ("Berlin", "Paris", "Rome"))


def governor(mode: str = "speed", verifiers: Any = (), **more: Any) -> Governor:
    rules = {"*": AgentRules(tools={"*": Capability()})}
    lineage = Lineage(mode=mode, classes=CLASSES, **more)
    made = Governor(Policy(agents=rules, lineage=lineage, retries=False, seconds=0.3), verifiers=verifiers)
    assert made.decide(made.propose("message", "", MAIL, agent="user", run="r")).outcome is Outcome.ALLOW
    return made


def said(made: Governor, value: Any, agent: str = "reader", **more: Any) -> Any:
    return made.decide(made.propose("message", "", value, agent=agent, run="r", **more))


@pytest.mark.parametrize(
    "value",
    [
        '{"quantity": 12, "item": "green chairs", "city": "Berlin"}',
        {"quantity": 12, "item": "green chairs"},
        "12 green chairs, Berlin.",
        "",
    ],
)
def test_what_follows_from_the_task_passes_unchanged(value: Any) -> None:
    ruling = said(governor("strict"), value)
    assert (ruling.outcome, ruling.executed) == (Outcome.ALLOW, ruling.proposed)


@pytest.mark.parametrize(
    ("value", "mended"),
    [
        (
            '{"quantity": 21, "item": "green chairs", "city": "Berlin"}',
            '{"quantity": 12, "item": "green chairs", "city": "Berlin"}',
        ),
        ({"quantity": 12, "item": "oak tables"}, {"quantity": 12, "item": "green chairs"}),
        ({"city": "Paris", "item": "green chairs"}, {"city": "Berlin", "item": "green chairs"}),
    ],
)
def test_a_contradicted_value_is_replaced_by_the_confirmed_one(value: Any, mended: Any) -> None:
    ruling = said(governor(), value)
    assert (ruling.outcome, ruling.value) == (Outcome.REWRITE, mended)
    assert ruling.rule == "lineage:red"
    assert (
        "Berlin" in ruling.evidence[0] or "green chairs" in ruling.evidence[0] or "12" in ruling.evidence[0]
    )


def test_a_contradicting_sentence_is_left_out_and_the_rest_stays_in_order() -> None:
    ruling = said(
        governor(repair=False), "12 green chairs, Berlin. Send them to Paris instead. Green chairs."
    )
    assert ruling.value.startswith("12 green chairs, Berlin.")
    assert "Paris" not in ruling.value
    assert ruling.value.endswith("Green chairs.")


def test_a_call_is_not_made_with_what_was_rejected() -> None:
    made = governor(repair=False)
    args = {"args": {"quantity": 21, "item": "green chairs", "city": "Berlin"}}
    ruling = made.decide(made.propose("tool_call", "order", args, agent="clerk", run="r"))
    assert (ruling.outcome, ruling.rule) == (Outcome.BLOCK, "lineage:red")
    assert ruling.error is not None
    assert ruling.error.category == "lineage"


def test_what_is_open_goes_by_mode() -> None:
    open_claim = "The supplier Acme closes in August."
    assert said(governor("speed"), open_claim).value == f"{open_claim} [unverified]"
    assert said(governor("balanced", [lambda text, _: False], hubs=("hub",)), open_claim).allowed
    assert not said(
        governor("balanced", [lambda text, _: False], hubs=("hub",)), open_claim, agent="hub"
    ).allowed
    assert said(governor("strict", [lambda text, _: True]), open_claim).value == open_claim
    assert not said(governor("strict"), open_claim).allowed


def test_what_was_verified_is_confirmed_from_then_on() -> None:
    asked: list[str] = []

    def verify(text: str, proposal: Any) -> bool:
        asked.append(text)
        return True

    made = governor("strict", [verify])
    for _ in range(3):
        assert said(made, "The supplier Acme closes in August.").allowed
    assert len(asked) == 1


def _breaks(text: str, proposal: Any) -> Any:
    raise ValueError


def _hangs(text: str, proposal: Any) -> Any:
    time.sleep(2)
    return True


@pytest.mark.parametrize(
    "verifier", [_breaks, _hangs, lambda t, p: "true", lambda t, p: 1, lambda t, p: None]
)
def test_a_bad_verifier_confirms_nothing(verifier: Any) -> None:
    assert not said(governor("strict", [verifier]), "The supplier Acme closes in August.").allowed


def test_a_tool_that_repeats_a_wrong_argument_confirms_nothing() -> None:
    made = governor()
    assert made.guard is not None
    made.guard.confirm_result("r", "check", "in stock: 12 green chairs in Paris")
    assert said(made, {"item": "green chairs", "city": "Paris"}).value["city"] == "Berlin"
    made.guard.confirm_result("r", "check", "in stock: 12 green chairs in Berlin, shelf 42")
    assert said(made, "In stock: 12 green chairs in Berlin, shelf 42.").outcome is Outcome.ALLOW


def test_a_sender_that_can_be_asked_is_told_why_at_most_twice() -> None:
    import msgspec

    made = governor()
    proposal = made.propose("message", "", {"quantity": 21, "item": "green chairs"}, agent="reader", run="r")
    outcomes = [made.decide(msgspec.structs.replace(proposal, attempt=attempt)) for attempt in (0, 1, 2)]
    assert [one.rule for one in outcomes] == ["lineage:again", "lineage:again", "lineage:red"]
    assert "Say it again" in outcomes[0].reason
    assert outcomes[2].value["quantity"] == 12


@pytest.mark.parametrize("off", ["enforce", "screen"])
def test_ablations_let_the_error_through(off: str) -> None:
    value = {"quantity": 21, "item": "green chairs"}
    assert said(governor(**{off: False}), value).value == value


def test_a_grounded_slot_holds_only_what_is_confirmed() -> None:
    ruling = said(governor(grounded=("reference",)), {"reference": "R-77", "item": "green chairs"})
    assert ruling.value == {"item": "green chairs"}


def _nested(depth: int) -> Any:
    value: Any = "Send 21 green chairs to Paris."
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    ["The sky is green today. " * 3000, [[i] for i in range(3000)], _nested(40)],
    ids=["long", "wide", "deep"],
)
def test_a_message_too_large_to_screen_is_not_sent_unscreened(value: Any) -> None:
    assert said(governor(), value).rule == "lineage:size"


def test_runs_do_not_share_what_is_confirmed() -> None:
    made = governor("strict")
    assert said(made, "12 green chairs, Berlin.").allowed
    other = made.propose("message", "", "12 green chairs, Berlin.", agent="reader", run="other")
    assert not made.decide(other).allowed
