"""The published table of fault and contract is what the committed counts say."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from masfire.contracts.loader import load_contracts, pack, pack_names

ROOT = Path(__file__).resolve().parents[2]
STUDY: dict[str, Any] = runpy.run_path(str(ROOT / "benchmarks" / "study_contracts.py"))
FOUND: dict[str, Any] = json.loads(STUDY["RESULTS"].read_text("utf-8"))


def test_the_report_is_made_from_the_counts() -> None:
    assert STUDY["REPORT"].read_text("utf-8") == STUDY["report"](FOUND)


def test_the_readme_shows_the_table_that_the_counts_make() -> None:
    text = f"# Title\n\n{STUDY['BEGIN']}\nold\n{STUDY['END']}\n\ntail\n"
    made = STUDY["renewed"](text, FOUND)
    assert STUDY["short_table"](FOUND) in made
    assert "old" not in made
    assert made.endswith("\n\ntail\n")
    readme = (ROOT / "README.md").read_text("utf-8")
    assert STUDY["BEGIN"] not in readme or STUDY["renewed"](readme, FOUND) == readme


def test_the_study_judged_the_contracts_that_are_shipped() -> None:
    shipped = {(name, c.id, c.catches) for name in pack_names() for c in pack(name)}
    shipped |= {("order_desk", c.id, c.catches) for c in load_contracts(STUDY["DOMAIN"])}
    assert {(c["set"], c["id"], tuple(c["catches"])) for c in FOUND["contracts"]} == shipped


def test_every_fault_on_every_system_was_judged_and_reported_on_the_half_not_tuned_on() -> None:
    assert FOUND["half"] == "odd"
    systems = {cell["system"] for cell in FOUND["cells"]}
    assert {name for name in systems if not name.endswith("~stub")} == {
        "linear", "loop", "dialogue", "star", "mesh",
    }  # fmt: skip
    cells = {(cell["system"], cell["fault"].split("?")[0], cell["times"]) for cell in FOUND["cells"]}
    assert len(cells) == len(systems) * 15 * 2
    assert all(cell["n"] > 0 for cell in FOUND["cells"])
    assert FOUND["runs"] == sum(cell["n"] for cell in (*FOUND["cells"], *FOUND["clean"]))


def test_a_table_cell_is_the_share_of_the_runs() -> None:
    cells = [c for c in FOUND["cells"] if c["fault"] == "message_cycle" and "~" not in c["system"]]
    hits = sum(cell["violated"].get("no-message-to-oneself", 0) for cell in cells)
    [row] = [line for line in STUDY["table"](FOUND).splitlines() if "no-message-to-oneself" in line]
    head = STUDY["table"](FOUND).splitlines()[0].split(" | ")
    assert row.split(" | ")[head.index("MC")] == f"**{100 * hits / sum(c['n'] for c in cells):.0f}**"


def test_changed_counts_change_the_report() -> None:
    changed = json.loads(json.dumps(FOUND))
    changed["cells"][0]["n"] += 1
    assert STUDY["report"](changed) != STUDY["report"](FOUND)


@pytest.mark.parametrize("half", ["even", "odd"])
def test_the_halves_part_the_tasks(half: str, tmp_path: Path) -> None:
    from masfire.campaign.results import Results, RunResult

    with Results(tmp_path / "results.sqlite") as results:
        for number in range(4):
            results.add(
                RunResult(
                    f"run{number}", "linear", "m", "", "", "", f"held-0{number}", 0, "completed",
                    trace=f"{number}.jsonl",
                )
            )  # fmt: skip
    rows = [row.task for row, _ in STUDY["_rows"]([tmp_path], half)]
    assert rows == (["held-00", "held-02"] if half == "even" else ["held-01", "held-03"])
