"""A campaign's page and tables say what the summary says, safely and without network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser

import pytest

from masfire.campaign.results import RunResult
from masfire.campaign.summary import (
    CellSummary,
    ModelSummary,
    PairCounts,
    Rate,
    Summary,
    SystemSummary,
)
from masfire.metrics.statistics import wilson
from masfire.reporting.html import render
from masfire.reporting.text import campaign_markdown, campaign_tables
from masfire.reporting.words import counts, headline, interval, number, remarks

EVIL = "<script>alert(1)</script>\x1b[31m"


def rate(successes: int, n: int) -> Rate:
    found = wilson(successes, n)
    return Rate(successes=successes, n=n, rate=found.rate, low=found.low, high=found.high)


def cell(
    system: str, fault: str, verdict: str, successes: int, n: int, runs: Sequence[str] = ()
) -> CellSummary:
    return CellSummary(
        system=system, fault=fault, times="once", verdict=verdict, rs=rate(successes, n),
        ratio=successes / n if n else None, pairs=PairCounts(both=1, lost=2, won=0, neither=0, p=0.5),
        states={"witnessed": n} if n else {"not_exposed": 3}, endings={"completed": 3}, unjudged=0,
        runs=list(runs),
    )  # fmt: skip


@pytest.fixture
def summary() -> Summary:
    names = ["linear", "loop"]
    return Summary(
        version="0.1.0", python="3.11", created=0.0, plan="ab" * 32, complete=True, seeds=[0],
        control_seeds=[0, 1, 2], wanted=3, runs=6, controls=12, endings={"completed": 18}, seconds=9.0,
        model=ModelSummary(
            name="tiny", endpoint="local", local=True, temperature=0.2, slot=2048, cache=True, stub="off",
            replies={"cache": 30, "live": 10}, tokens_in=1, tokens_out=1,
        ),
        systems=[
            SystemSummary(
                name=name, model="tiny", tasks=4, solved=["a"], controls=rate(9, 12), control=rate(9, 9),
                errors=[],
            )
            for name in names
        ],
        cells=[
            cell("linear", "hallucination", "valid", 1, 4, ["r1"]),
            cell("loop", "hallucination", "short", 1, 1),
            cell("linear", "memory_loss", "invalid", 0, 0),
            cell("loop", "memory_loss", "inapplicable", 0, 0),
        ],
    )  # fmt: skip


@pytest.fixture
def results() -> list[RunResult]:
    common = {"system": "linear", "model": "tiny", "task": EVIL, "seed": 0, "status": "completed"}
    return [
        RunResult("r1", fault="hallucination", times="once", address="hallucination@a b", success=False,
                  state="witnessed", reason=EVIL, agent=EVIL, step=3, trace="r1.jsonl", **common),
        RunResult("c1", fault="", times="", address="", success=True, trace="c1.jsonl", **common),
    ]  # fmt: skip


class Page(HTMLParser):
    """Collects the tags of a page, and that those opened are closed."""

    VOID = frozenset({"meta", "line", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_is_whole_and_needs_no_network(summary: Summary, results: list[RunResult]) -> None:
    page = Page(render(summary, results))
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in ("link", "img", "iframe", "object")
        assert not attributes.get("src")
        target = attributes.get("href") or "#"
        assert target.startswith(("#", "traces/"))
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = {a["href"] for tag, a in page.tags if tag == "a" and (a.get("href") or "").startswith("#")}
    assert links == {f"#{anchor}" for anchor in ids if str(anchor).startswith("cell-")}


def test_nothing_a_system_wrote_runs_on_the_page(summary: Summary, results: list[RunResult]) -> None:
    text = render(summary, results)
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert "\x1b" not in text
    assert [tag for tag, _ in Page(text).tags].count("script") == 1


def test_the_page_says_what_the_summary_says(summary: Summary, results: list[RunResult]) -> None:
    text = render(summary, results)
    assert headline(summary) in text
    assert "0.25" in text
    assert "[0.05, 0.70]" in text
    assert "0 of 3 witnessed" in text
    assert "traces/r1.jsonl" in text
    assert "hallucination@a b&#39; --seed 0" in text
    assert "McNemar p = 0.5" in text
    assert re.search(r'class="low" style="--weight: 50.0"', text)


def test_the_markdown_table_has_every_cell(summary: Summary) -> None:
    lines = campaign_markdown(summary).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {
        len(["fault", "times", "linear", "loop", "injections"]) + 1
    }
    assert "0.25 n=4 [0.05, 0.70] r=0.25" in table[3]
    assert "1.00 n=1 short" in table[3]
    assert "invalid 0 of 3 witnessed" in table[4]
    assert "inapplicable" in table[4]
    assert "Reply cache on: 30 of 40 model replies (75%) came from it." in "\n".join(lines)


def test_narrow_terminals_get_several_tables(summary: Summary) -> None:
    assert len(campaign_tables(summary, width=160)) == 1
    assert len(campaign_tables(summary, width=60)) == 2


def test_remarks_name_what_is_not_to_be_trusted(summary: Summary) -> None:
    text = "\n".join(remarks(summary))
    assert "Invalid (not one injection was witnessed" in text
    assert "memory_loss once on linear" in text
    assert "memory_loss once on loop" not in text
    assert "hallucination once on loop" in text
    lost = summary.systems[0].model_copy(update={"solved": [], "errors": ["ValueError: \x1b[2J"]})
    hopeless = summary.model_copy(update={"systems": [lost]})
    assert "linear solved none of 4 tasks" in "\n".join(remarks(hopeless))
    assert "ValueError: \\x1b[2J" in "\n".join(remarks(hopeless))
    incomplete = summary.model_copy(update={"complete": False})
    assert "not complete" in "\n".join(remarks(incomplete))
    assert incomplete.exit_code == 3


def test_words_for_nothing() -> None:
    assert number(None) == "\N{EN DASH}"
    assert interval(rate(0, 0)) == ""
    assert counts({}) == "none"


def test_one_control_a_task_is_said_to_be_too_few(summary: Summary, results: list[RunResult]) -> None:
    needs = "at least 2 fault-free runs of it, and the plan had 1. Give it controls: 3 or more."
    for enough in (campaign_markdown(summary), render(summary, results)):
        assert needs not in enough
        assert "too few controls" not in enough
    assert "0.25 of control" in render(summary, results)
    alone = summary.model_copy(
        update={
            "control_seeds": [0],
            "systems": [one.model_copy(update={"control": rate(0, 0)}) for one in summary.systems],
            "cells": [one.model_copy(update={"ratio": None}) for one in summary.cells],
        }
    )
    page = render(alone, results)
    assert "too few controls to compare" in page
    assert "of control<" not in page
    for told in (page, campaign_markdown(alone)):
        assert f"No r for linear, loop: whether a solved task is solved again takes {needs}" in told
