"""A blame is confirmed by repair: real campaign runs, again, with the suspect as in the clean twin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from masfire.campaign.confirm import INCONCLUSIVE, REFUTED, Pair, confirm, pair_of
from masfire.campaign.planfile import load_plan
from masfire.campaign.repair import Repair
from masfire.campaign.rerun import rerunning
from masfire.campaign.results import Results
from masfire.campaign.runner import RESULTS_FILE, Campaign
from masfire.diagnosis.attribute import diagnose
from masfire.diagnosis.causality import Counterfactual
from masfire.diagnosis.model import Attribution, Suspect
from masfire.errors import UsageError
from tests.support.adders import script, write_plan
from tests.support.fake_openai import FakeOpenAI


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    tmp_path = tmp_path_factory.mktemp("confirm")
    with FakeOpenAI(script) as server:
        plan = write_plan(tmp_path / "plan.yaml", server.url)
        Campaign(load_plan(plan), tmp_path / "out").run()
        yield tmp_path / "out"


def failed(folder: Path) -> list[Pair]:
    with Results(folder / RESULTS_FILE, readonly=True) as results:
        ids = [row.id for row in results if row.fault and row.success is False and row.state == "witnessed"]
    assert ids
    return [pair_of(folder, one) for one in ids]


def blaming(run: str, step: int, agent: str) -> Attribution:
    return Attribution(run, (Suspect(step, agent, 1.0, 1.0),), ((agent, 1.0),))


def test_the_repair_of_the_culprit_saves_the_run_and_shapley_blames_it_alone(folder: Path) -> None:
    with rerunning(folder) as rerunner:
        for pair in failed(folder):
            found = diagnose(pair.trace, [Counterfactual([pair.twin])])
            proved = confirm(rerunner, pair, found, blame=True)
            assert proved.first is not None, (pair.row.fault, proved)
            assert proved.first.agent == found.suspects[0].agent
            assert proved.blame[0] == (proved.first.agent, pytest.approx(1.0))
            assert sum(value for _, value in proved.blame) == pytest.approx(1.0)
            assert proved.reruns >= 2


def test_blaming_the_innocent_is_refuted(folder: Path) -> None:
    with rerunning(folder) as rerunner:
        pair = failed(folder)[0]
        culprit = diagnose(pair.trace, [Counterfactual([pair.twin])]).suspects[0]
        innocent = next(
            step for step in pair.trace.steps if step.agent != culprit.agent and step.step < culprit.step
        )
        proved = confirm(rerunner, pair, blaming(pair.row.id, innocent.step, innocent.agent))
    assert proved.first is None
    assert {one.verdict for one in proved.trials} == {REFUTED}


def test_a_run_that_passes_when_repeated_confirms_nothing(folder: Path) -> None:
    pair = failed(folder)[0]
    control = Pair(row=_control(folder, pair), trace=pair.trace, twin=pair.twin)
    with rerunning(folder) as rerunner:
        proved = confirm(rerunner, control, blaming(pair.row.id, 0, "user"))
    assert [one.verdict for one in proved.trials] == [INCONCLUSIVE]
    assert "did not fail again" in proved.trials[0].why


def test_what_cannot_be_paired_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run 'nobody'"):
        pair_of(folder, "nobody")
    with pytest.raises(UsageError, match="holds no campaign"):
        pair_of(tmp_path, "x")
    with Results(folder / RESULTS_FILE, readonly=True) as results:
        control = next(row.id for row in results if row.control)
    with pytest.raises(UsageError, match="no solved control"):
        pair_of(folder, control)


def test_a_repair_changes_only_what_deviates(folder: Path) -> None:
    twin = failed(folder)[0].twin
    everything = Repair(twin, at=range(len(twin)), agents=twin.agents)
    for step in twin.steps:
        if step.kind != "model_call":  # a stored request is shortened; the one offered is not
            assert everything(step, twin.steps[: step.step]) == (step,)
    assert everything.repaired == []
    assert everything.without == []


def test_one_more_copy_of_a_message_is_dropped(folder: Path) -> None:
    twin = failed(folder)[0].twin
    message = next(step for step in twin.steps if step.kind == "message")
    repair = Repair(twin, agents=(message.agent,))
    sent = [len(repair(message, ())) for _ in range(20)]
    assert sent[0] == 1
    assert sent[-1] == 0


def _control(folder: Path, pair: Pair):  # type: ignore[no-untyped-def]
    with Results(folder / RESULTS_FILE, readonly=True) as results:
        same = (pair.row.system, pair.row.task, pair.row.seed)
        return next(row for row in results if row.control and (row.system, row.task, row.seed) == same)
