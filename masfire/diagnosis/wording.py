"""The features of the step scorer in words, for people: what a step has more or less of than its run."""

from __future__ import annotations

import re
from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "pos.relative": "distance from the start",
    "pos.log": "distance from the start",
    "pos.order": "distance from the start",
    "pos.left": "distance from the end",
    "pos.first": "being the first",
    "pos.second": "being the second",
    "pos.last": "being the last",
    "pos.early": "being among the early ones",
    "pos.is0": "being step 0",
    "pos.is1": "being step 1",
    "pos.is2": "being step 2",
    "pos.is3": "being step 3",
    "pos.is4": "being step 4",
    "agent.share": "its agent's share of the run",
    "agent.most": "being of the busiest agent",
    "agent.turns": "turns of its agent",
    "agent.first": "being its agent's first turn",
    "agent.nth": "earlier turns of its agent",
    "agent.only": "being its agent's only turn",
    "agent.same_before": "the same agent just before",
    "agent.same_after": "the same agent just after",
    "agent.opened": "being of the agent that opened",
    "agent.closed": "being of the agent that closed",
    "agent.thought": "being a thought",
    "agent.dispatch": "being a dispatch to another agent",
    "agent.number": "a late first turn of its agent",
    "role.verif": "being a verifier's",
    "role.valid": "being a validator's",
    "role.data": "being a data expert's",
    "role.python": "being a programmer's",
    "role.web": "being a web surfer's",
    "role.orchestr": "being an orchestrator's",
    "role.assistant": "being an assistant's",
    "role.file": "being a file surfer's",
    "role.expert": "being an expert's",
    "role.debug": "being a debugger's",
    "lex.hedge": "hedging",
    "lex.assume": "assumptions",
    "lex.error": "words of error",
    "lex.refuse": "refusal",
    "lex.plan": "planning",
    "lex.verify": "talk of checking",
    "lex.conclude": "concluding",
    "lex.finish": "ending the run",
    "lex.ask": "asking",
    "lex.manual": "work by hand",
    "lex.search": "searching",
    "lex.compute": "computing",
    "lex.correct": "claims to be correct",
    "lex.loop": "trying again",
    "lex.guess": "guessing",
    "text.length": "text",
    "text.digits": "digits",
    "text.urls": "links",
    "text.items": "list items",
    "text.questions": "questions",
    "text.code": "code",
    "text.code_lines": "lines of code",
    "text.short": "brevity",
    "text.json": "JSON",
    "text.bold": "bold text",
    "next.machine": "a machine's answer right after",
    "next.failed": "failure right after",
    "next.fine": "success right after",
    "next.no_code": "code that did not run right after",
    "next.errors": "words of error right after",
    "next.verify": "checking right after",
    "next.correct": "claims to be correct right after",
    "next.none": "being followed by nothing",
    "prev.machine": "a machine's answer right before",
    "prev.failed": "failure right before",
    "prev.errors": "words of error right before",
    "run.failures_before": "failures before it",
    "run.failures_after": "failures after it",
    "run.errors_before": "words of error before it",
    "run.errors_after": "words of error after it",
    "run.before_first_failure": "being before the first failure",
    "run.after_failure": "being after a failure",
    "new.salient": "new facts",
    "new.salient_share": "share of new facts",
    "new.numbers": "new numbers",
    "new.words": "new words",
    "new.unsourced": "facts without a source",
    "same.question": "likeness to the task",
    "same.own": "likeness to its agent's last turn",
    "same.previous": "likeness to the turn before",
    "prov.share": "facts of the answer",
    "prov.best": "being the main source of the answer",
    "prov.first": "being the first source of the answer",
    "prov.before": "facts of the answer before it",
    "prov.owed": "facts of the answer that rest on it",
    "prov.owed_best": "being what the answer rests on most",
    "prov.present": "facts of the answer that it repeats",
    "prov.used": "use of its facts later",
}
"""Feature → what it measures; "being …" are yes-or-no features."""

_MEASURED = re.compile(r"([a-z]+\.\w+) ([+-]\d+\.\d) sd")
_FAR, _CLEARLY = 2.0, 1.0


def worded(text: str) -> str:
    """Return a text in which measured features (``lex.hedge +2.3 sd``) stand in words.

    >>> worded("resembles others: lex.hedge +2.3 sd, pos.is2 +0.4 sd")
    'resembles others: far more hedging than usual in this run, being step 2'
    """
    return _MEASURED.sub(lambda found: _phrase(found[1], float(found[2])) or found[0], text)


def _phrase(name: str, deviation: float) -> str:
    words = WORDS.get(name, "")
    if words.startswith("being"):
        return words if deviation > 0 else f"not {words}"
    if not words:
        return ""
    far = "far " if abs(deviation) >= _FAR else "clearly " if abs(deviation) >= _CLEARLY else "a little "
    return f"{far}{'more' if deviation > 0 else 'less'} {words} than usual in this run"
