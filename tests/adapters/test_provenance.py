"""Where a piece of text came from."""

from __future__ import annotations

import json
import time

from masfire.adapters.provenance import RECENT, Index

PLAN = "1. look up the brass lamp\n2. reserve three pieces of it"
ORDER = {"item": "brass lamp (large)", "pieces": 3, "notes": ["deliver on Friday morning"]}


def found(index: Index, text: str, **options: object) -> list[tuple[int, str, str]]:
    return [(s.step, s.agent, text[s.start : s.end]) for s in index.find(text, **options)]  # type: ignore[arg-type]


def test_whole_embedded_and_line_by_line() -> None:
    index = Index()
    index.add(4, "planner", PLAN)
    assert found(index, f"  {PLAN}\n") == [(4, "planner", PLAN)]
    assert found(index, f"Do this:\n{PLAN}\nNow.") == [(4, "planner", PLAN)]
    assert found(index, "Do:\n- 2. reserve three pieces of it") == [
        (4, "planner", "2. reserve three pieces of it")
    ]
    assert found(index, "Do something else entirely") == []
    assert index.parents([PLAN, "nothing of the kind"]) == (4,)


def test_json_is_found_however_it_is_passed_on() -> None:
    index = Index()
    index.add(2, "clerk", "```json\n" + json.dumps(ORDER, indent=2) + "\n```")
    for rendering in (json.dumps(ORDER), json.dumps(ORDER, separators=(",", ":")), str(ORDER)):
        assert found(index, f"The order is {rendering}, please check it.") == [(2, "clerk", rendering)]
    assert found(index, "Notes:\ndeliver on Friday morning") == [(2, "clerk", "deliver on Friday morning")]


def test_short_texts_and_parts_of_words_are_chance() -> None:
    index = Index()
    index.add(1, "a", "ok fine")
    index.add(2, "a", "complete the form")
    assert found(index, "ok fine") == []
    assert found(index, "please incomplete the formality of it") == []
    assert found(index, "please complete the form now") == [(2, "a", "complete the form")]


def test_the_latest_other_speaker_counts() -> None:
    index = Index()
    index.add(1, "a", "Looks good to me.")
    index.add(2, "b", "Looks good to me.")
    assert [s.step for s in index.find("Looks good to me.")] == [2]
    assert [s.step for s in index.find("Looks good to me.", reader="b")] == [1]
    assert [s.step for s in index.find("Looks good to me.", reader="b", own=True)] == [2]
    index.add(3, "a", "Looks good to me.")
    assert [s.step for s in index.find("Looks good to me.", reader="b")] == [3]


def test_old_outputs_are_still_found_whole_and_by_line() -> None:
    index = Index()
    index.add(0, "old", PLAN)
    for number in range(RECENT + 10):
        index.add(number + 1, "new", f"an output that nobody quotes, number {number}")
    assert found(index, PLAN) == [(0, "old", PLAN)]
    assert found(index, f"Plan:\n{PLAN}\nGo.") == [(0, "old", PLAN)]
    assert found(index, "so (an output that nobody quotes, number 0) it is") == []
    assert len(found(index, "so (an output that nobody quotes, number 70) it is")) == 1


def test_a_pinned_text_may_be_short_and_never_ages() -> None:
    index = Index()
    index.add(0, "user", "2+2?", pinned=True)
    for number in range(RECENT + 10):
        index.add(number + 1, "new", f"an output that nobody quotes, number {number}")
    assert found(index, "Solve 2+2? now") == [(0, "user", "2+2?")]


def test_a_look_up_costs_the_same_late_in_a_long_run() -> None:
    def cost(index: Index, unique: int) -> float:
        times = []
        for number in range(50):
            text = f"please treat case {unique} {number} with all the care that you have " * 5
            started = time.perf_counter()
            index.find(text)
            times.append(time.perf_counter() - started)
        return sorted(times)[len(times) // 2]

    index = Index()
    for number in range(100):
        index.add(number, "a", f"the answer to case {number} is that it has been handled")
    early = cost(index, 1)
    for number in range(100, 20_000):
        index.add(number, "a", f"the answer to case {number} is that it has been handled")
    assert cost(index, 2) < 4 * early + 0.0002


def test_what_several_said_stems_from_as_many_as_the_request_holds() -> None:
    index = Index()
    for step, agent in ((3, "sales"), (6, "depot"), (9, "billing")):
        index.add(step, agent, PLAN)
    assert index.parents([f"sales: {PLAN}", f"depot: {PLAN}"], reader="billing") == (3, 6)
    assert index.parents([f"depot: {PLAN}"], reader="billing") == (6,)
    assert index.parents([PLAN, PLAN, PLAN, PLAN], reader="x") == (3, 6, 9)
