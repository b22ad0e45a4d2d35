"""From a diagnosed failure to an error schema: by rule, or in a model's words behind the same protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import msgspec

from masfire.errors import UsageError
from masfire.knowledge.embedding import words_of
from masfire.knowledge.model import MAX_TRAITS, ErrorSchema, Signature, Source, schema_id
from masfire.knowledge.questions import question_of
from masfire.knowledge.traits import Traits, traits_of
from masfire.trace.model import Trace

CONTEXT = 2
"""How many of the culprit's own steps before the error count as its context."""
WORDS = 12


class Distiller(Protocol):
    """Makes a schema of a diagnosed failure."""

    def distill(
        self, trace: Trace, *, agent: str, step: int, fault: str, origin: str = "", role: str = ""
    ) -> ErrorSchema:
        """Return what the error at `step` of `trace` looks like."""


class RuleDistiller:
    """Distils by the traits of the step, those that set it apart from the agent's other steps first."""

    def distill(
        self,
        trace: Trace,
        *,
        agent: str,
        step: int,
        fault: str,
        origin: str = "",
        role: str = "",
        traits: Sequence[str] = (),
    ) -> ErrorSchema:
        """Return the schema of the error that `agent` made at `step`; raise UsageError for no such step.

        `traits` are those that set the step apart from what is usual, when a clean run told; without
        them all traits of the step count.
        """
        described = traits_of(trace.blind())
        at = next((window for window in described if window.step == step), None)
        if at is None:
            raise UsageError(
                f"Step {step} of run {trace.header.run} is no step that an agent took.",
                hint=f"Its agents took {len(described)} steps, 0-based, the last {_last(described)}.",
            )
        usual = Counter(name for window in described for name in window.names)
        names = sorted(set(traits) & at.names or at.names, key=lambda name: (usual[name], name))[:MAX_TRAITS]
        before = [window for window in described if window.agent == agent and window.step < step][-CONTEXT:]
        context = sorted({name for window in before for name in window.names if not name.startswith("kind:")})
        signature = Signature(tuple(sorted(names)), _telling_words(at, described))
        source = Source(trace.header.run, step, agent, origin)
        return ErrorSchema(
            id=schema_id(signature, fault=fault, role=role or agent),
            signature=signature,
            fault=fault,
            role=role or agent,
            context=tuple(context),
            heuristics=tuple(question_of(name) for name in names if not name.startswith("kind:")),
            evidence=(source,),
        )


def _telling_words(at: Traits, described: Sequence[Traits]) -> str:
    """Return words of the step that the run's other steps do not use; no numbers."""
    others = {word for window in described if window.step != at.step for word in words_of(window.text)}
    words = dict.fromkeys(word for word in words_of(at.text) if word.isalpha() and word not in others)
    return " ".join(list(words)[:WORDS])


def _last(described: Sequence[Traits]) -> int:
    return described[-1].step if described else -1


def relabel(schema: ErrorSchema, *, heuristics: Sequence[str]) -> ErrorSchema:
    """Return a schema with other detection heuristics (a model's words), each cut to one line of 200."""
    lines = tuple(" ".join(line.split())[:200] for line in heuristics if line.strip())[:12]
    return msgspec.structs.replace(schema, heuristics=lines or schema.heuristics)
