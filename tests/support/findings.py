"""What the layers that need no learning find in the golden traces, and how that is written anew.

python -m tests.support.findings
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from masfire.checking import resolve
from masfire.diagnosis.evidence import ContractEvidence, Provenance
from masfire.trace.io import read_trace

TRACES = Path(__file__).parent.parent / "traces"
FOUND = TRACES / "findings.json"


def findings() -> dict[str, list[list[Any]]]:
    """Return, per trace, each finding as layer, step, score and text, by all shipped packs."""
    layers = [ContractEvidence(resolve(["all"])), Provenance()]
    found = {}
    for path in sorted(TRACES.rglob("*.jsonl")):
        trace = read_trace(path).blind()
        found[path.relative_to(TRACES).as_posix()] = [
            [one.evidence.layer, one.step, round(one.score, 6), one.evidence.text]
            for layer in layers
            for one in layer.examine(trace)
        ]
    return found


def written(found: dict[str, list[list[Any]]]) -> str:
    """Return the findings as JSON, one a line."""
    parts = [
        f'"{name}": [\n' + ",\n".join(f"  {json.dumps(one, ensure_ascii=False)}" for one in rows) + "\n]"
        for name, rows in found.items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    FOUND.write_text(written(findings()), encoding="utf-8")
