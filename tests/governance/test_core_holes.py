"""Ways around the governor itself: disguised names, odd classes, full disks, clocks, echoes, a person."""

import os
from pathlib import Path
from typing import Any

import pytest

from masfire.governance import (
    AgentRules,
    AuditLog,
    Block,
    Bound,
    Breaker,
    Capability,
    Governor,
    Limits,
    Lineage,
    Outcome,
    Policy,
    allow,
    verify,
)

OPEN = AgentRules(tools={"*": Capability()}, deny=("pay",))


def call(governor: Governor, name: Any = "x", agent: str = "a", **args: Any) -> Any:
    return governor.decide(governor.propose("tool_call", name, {"args": args}, agent=agent, run="r"))


@pytest.mark.parametrize(
    "name",
    [
        "pay",
        "Pay",
        "PAY",
        " pay",
        "pay\n",
        "pay\u200b",
        "p\u0430y",
        "\uff50ay",
        "pa\u0301y",
        "pay\x00",
        "\u202epay",
    ],
)
def test_what_is_denied_is_denied_in_any_dress(name: str) -> None:
    assert not call(Governor(Policy(agents={"a": OPEN})), name).allowed


@pytest.mark.parametrize("name", ["pa ", "\u200bread", "re\u0430d", "r\uff45ad", "read\ud800"])
def test_a_disguised_name_needs_a_rule_of_its_own(name: str) -> None:
    assert not call(Governor(Policy(agents={"a": OPEN})), name).allowed
    assert call(Governor(Policy(agents={"a": allow(name)})), name).allowed


@pytest.mark.parametrize(
    "name", ["payment", "lies_\u00e4", "\u043f\u0440\u043e\u0447\u0435\u0441\u0442\u044c", "\u8aad\u3080"]
)
def test_names_of_other_languages_are_no_disguise(name: str) -> None:
    assert call(Governor(Policy(agents={"a": OPEN})), name).allowed


class Chameleon(str):
    """Equal to everything, and hashed like `read`."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("read")


def test_a_name_that_equals_every_name_is_what_it_says() -> None:
    governor = Governor(Policy(agents={"a": allow("read")}))
    assert call(governor, "read").allowed
    assert not call(governor, Chameleon("pay")).allowed
    assert not call(governor, 7).allowed


@pytest.mark.parametrize("value", [5e9, 10**400, float("nan"), float("inf"), True, "7", [7], None])
def test_a_number_beyond_its_bound_in_any_form(value: Any) -> None:
    rules = AgentRules(tools={"x": Capability({"n": Bound(type="integer", maximum=10)})})
    assert not call(Governor(Policy(agents={"a": rules})), n=value).allowed


def test_a_clamped_number_is_held_to_the_rest_of_its_bound() -> None:
    bound = Bound(type="integer", maximum=10, enum=(5,), otherwise="clamp")
    assert not call(
        Governor(Policy(agents={"a": AgentRules(tools={"x": Capability({"n": bound})})})), n=50
    ).allowed


def test_every_rule_that_counts_calls_counts() -> None:
    rules = {
        "role:a": AgentRules(tools={"x": Capability(calls=1)}),
        "role:*": AgentRules(tools={"x": Capability(calls=9)}),
    }
    both = {"b*": AgentRules(tools={"x": Capability(calls=1), "?": Capability(calls=9)})}
    for agents, role in ((rules, "a"), (both, "")):
        governor = Governor(Policy(agents=agents))
        made = [
            governor.decide(governor.propose("tool_call", "x", {"args": {}}, agent="bo", run="r", role=role))
            for _ in range(3)
        ]
        assert [one.allowed for one in made] == [True, False, False]


def test_a_role_that_is_said_later_brings_its_budget() -> None:
    agents = {"a": allow("x"), "role:clerk": AgentRules(budget=Limits(steps=1))}
    governor = Governor(Policy(agents=agents))
    call(governor)

    def as_clerk() -> Any:
        return governor.decide(
            governor.propose("tool_call", "x", {"args": {}}, agent="a", run="r", role="clerk")
        )

    assert as_clerk().rule == "budget:steps"


def test_what_cannot_be_logged_when_it_ends_is_logged_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(tmp_path / "log")
    governor = Governor(Policy(agents={"a": OPEN}), audit=log)
    ruling, write, full = call(governor), os.write, [True]

    def short(fd: int, data: bytes) -> int:
        return write(fd, data[:9]) if full[0] else write(fd, data)

    monkeypatch.setattr("masfire.governance.audit.os.write", short)
    governor.finish(ruling, "done")  # the disk is full: the tool has run all the same, so this does not raise
    assert not call(governor).allowed
    full[0] = False
    assert call(governor).allowed
    log.close()
    assert verify(tmp_path / "log")[0] == 4  # head, decision, finish, decision
    assert '"event":"finish"' in (tmp_path / "log").read_text().splitlines()[2]


def test_a_line_that_did_not_reach_the_disk_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(tmp_path / "log", fsync=True)
    governor = Governor(Policy(agents={"a": OPEN}), audit=log)

    def fails(fd: int) -> None:
        raise OSError(5, "I/O error")

    with monkeypatch.context() as patched:
        patched.setattr("masfire.governance.audit.os.fdatasync", fails)
        assert not call(governor).allowed
    assert call(governor).allowed
    log.close()
    verify(tmp_path / "log")


def test_setting_the_clock_shortens_no_wait() -> None:
    now, wall = [100.0], [1e9]
    governor = Governor(Policy(agents={"a": OPEN}), clock=lambda: wall[0], timer=lambda: now[0])
    governor.finish(call(governor), {"retryable": True, "retry_after_ms": 5000}, ok=False)
    wall[0] += 3600
    assert call(governor).rule == "contract:masfire.retry-waits"
    wall[0] -= 7200
    now[0] += 6
    assert call(governor).allowed


def test_a_decision_that_waited_for_a_run_that_ended_is_refused() -> None:
    governor = Governor(Policy(agents={"a": OPEN}, breaker=Breaker()))
    call(governor)
    state = governor.state_of("r")
    governor.end("r")
    governor._states["r"] = state  # as if it had been looked up just before
    assert call(governor).rule == "run-over"


@pytest.mark.parametrize("ends", ["check", "lineage"])
def test_a_persons_word_on_a_capability_replaces_nothing_else(ends: str) -> None:
    lineage = Lineage(
        mode="speed", classes=(("Berlin", "Paris"),), instructions=("To Berlin.",), repair=False
    )
    governor = Governor(
        Policy(agents={"a": allow("read")}, lineage=lineage if ends == "lineage" else None),
        checks=[lambda proposal: Block("never")] if ends == "check" else (),
        escalate=lambda ruling: Outcome.ALLOW,
    )
    ruling = call(governor, "ship", city="Paris")
    assert (ruling.allowed, ruling.rule.split(":")[0]) == (False, ends)


def _spoken(governor: Governor, claim: Any) -> str:
    return str(governor.decide(governor.propose("message", "", claim, agent="a", run="r")).rule)


def test_a_tool_that_repeats_an_open_claim_does_not_confirm_it() -> None:
    claim = "The supplier Acme closes in August."
    lineage = Lineage(mode="speed", instructions=("Reserve 12 green chairs.",))
    governor = Governor(Policy(agents={"a": OPEN}, lineage=lineage))
    governor.finish(call(governor, "note", text=claim), f"Saved: {claim}")
    assert _spoken(governor, claim) == "lineage:yellow"
    governor.finish(call(governor, "look", item="chairs"), claim)
    assert _spoken(governor, claim) != "lineage:yellow"


@pytest.mark.parametrize("city", ["P\u0430ris", "Pa\u200bris", "\u03a1aris", "P\u0430r\u0456s"])
def test_a_claim_in_disguise_is_judged_by_what_it_shows(city: str) -> None:
    lineage = Lineage(mode="speed", classes=(("Berlin", "Paris"),), instructions=("Send it to Berlin.",))
    governor = Governor(Policy(agents={"a": OPEN}, lineage=lineage))
    assert _spoken(governor, f"Send it to {city}.") == "lineage:red"
    assert _spoken(governor, {"city": city}) == "lineage:red"
