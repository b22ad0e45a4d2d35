"""What the lineage guard's screen alone catches: wordings known while it was built, and held-out ones.

    python benchmarks/bench_wording.py [--json FILE]

Each text is one agent's message in a run whose only confirmed statement is the customer's mail; no verifier,
no model, speed mode, so that only the screen decides. A false text is *blocked* when it is not delivered as
it was said (withheld, or corrected); a true one is *falsely blocked* when its words are not delivered (a
mark of what is unverified aside). `held_out` in `wording.json` was written after the screen, and read once.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from masfire.governance import AgentRules, Governor, Lineage, Policy

DATA = Path(__file__).with_name("wording.json")


def delivered(data: dict[str, Any], text: str) -> tuple[str, str]:
    """Return what arrives of one message, without marks (empty: nothing), and the rule that spoke."""
    lineage = Lineage(mode="speed", classes=tuple(map(tuple, data["classes"])), retries=0, tag="")
    governor = Governor(Policy(agents={"*": AgentRules()}, lineage=lineage, retries=False))
    governor.decide(governor.propose("message", "", data["task"], agent="user", run="r"))
    ruling = governor.decide(governor.propose("message", "", text, agent="reader", run="r"))
    return (str(ruling.value) if ruling.allowed else ""), ruling.rule


def measure(data: dict[str, Any], part: str) -> dict[str, Any]:
    """Return counts, and the texts on which the screen was wrong."""
    counts = {"false": 0, "blocked": 0, "true": 0, "falsely blocked": 0}
    wrong: list[str] = []
    for case in data[part]:
        arrived, _ = delivered(data, case["text"])
        stopped = arrived != case["text"]
        counts["false" if case["false"] else "true"] += 1
        if stopped:
            counts["blocked" if case["false"] else "falsely blocked"] += 1
        if stopped is not case["false"]:
            wrong.append(case.get("attack") or case["text"])
    return {**counts, "wrong": wrong}


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = json.loads(DATA.read_text())
    found = {part: measure(data, part) for part in ("seen", "held_out")}
    print("| wordings | false ones blocked | true ones falsely blocked |\n|---|---|---|")
    for part, one in found.items():
        print(
            f"| {part.replace('_', '-')} | {one['blocked']} of {one['false']} "
            f"| {one['falsely blocked']} of {one['true']} |"
        )
    for part, one in found.items():
        for text in one["wrong"]:
            print(f"wrong ({part.replace('_', '-')}): {text}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
