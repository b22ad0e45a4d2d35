"""Evidence from a memory of past errors: which steps resemble one that is known."""

from __future__ import annotations

from masfire.diagnosis.model import Evidence, Finding, Recognizer
from masfire.trace.model import Trace


class SchemaEvidence:
    """Blames the steps at which a recognizer sees a known error."""

    name = "schema"

    def __init__(self, recognizer: Recognizer) -> None:
        self.recognizer = recognizer

    def examine(self, trace: Trace) -> list[Finding]:
        """Return one finding a recognised step, as strong as the resemblance."""
        findings = []
        for one in self.recognizer.recognize(trace):
            if not 0 <= one.step < len(trace.steps):
                continue
            score = min(1.0, max(0.0, one.similarity))
            text = f"{one.text or 'resembles a known error'} (schema {one.schema})"
            findings.append(
                Finding(one.step, score, Evidence(self.name, text, (one.step,), score, one.category))
            )
        return findings
