"""Families of words are counted exactly as one regular expression each would."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from masfire.diagnosis.lexicon import FAMILIES, counts_of

PATTERNS = {
    "hedge": r"\b(?:might|may be|perhaps|possibly|probably|likely|seems?|appears?|approximately|roughly|"
    r"typically|generally|usually|should be|i think|i believe)\b",
    "assume": r"\b(?:assum\w+|suppose|hypothetical\w*|example|sample|mock\w*|placeholder|simulat\w+|known|"
    r"based on (?:my|general|common|available|historical)|recall|knowledge)\b",
    "error": r"\b(?:errors?|failed|failure|exception|traceback|invalid|incorrect|wrong|unable|cannot|"
    r"can't|couldn't|could not|not (?:found|available|defined|possible)|timed? ?out|denied|missing)\b",
    "refuse": r"\b(?:sorry|apolog\w+|unfortunately|unable to|i cannot|i can't|do(?:es)? not have access)\b",
    "plan": r"\b(?:let'?s|let us|next|first|we will|i will|i'll|we need to|we should|plan|steps?|proceed)\b",
    "verify": r"\b(?:verif\w+|check\w*|confirm\w*|validat\w+|ensure|double-check|cross-check|accura\w+)\b",
    "conclude": r"\b(?:therefore|thus|hence|conclu\w+|final(?:ly)?|in summary|result(?:s)? (?:is|are|shows?)|"
    r"the answer|total)\b",
    "finish": r"\b(?:terminate|final answer|request satisfied|task (?:is )?(?:complete|done))",
    "ask": r"\b(?:please|could you|can you|would you|do you)\b",
    "manual": r"\b(?:manual(?:ly)?|directly|by hand|visually|inspect\w*)\b",
    "search": r"\b(?:search\w*|look up|browse|scrape|download|website|web ?page|click\w*|scroll\w*|typed)\b",
    "compute": r"\b(?:calculat\w+|comput\w+|count\w*|sum|average|formula|equation|convert\w*)\b",
    "correct": r"\b(?:correct(?:ed|ion|ly)?|accurate|verified|confirmed|matches|consistent|indeed)\b",
    "loop": r"\b(?:in_loop|loop\w*|stall\w*|repeat\w*|again|re-?plan\w*|retry|continue)\b",
    "guess": r"\b(?:guess\w*|estimat\w+|approximation|educated|infer\w*|unclear|unknown|no information)\b",
}
COMPILED = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}
WORDS = sorted(
    {word for pattern in PATTERNS.values() for word in re.findall(r"[a-z_']+", pattern)}
    | {"can't", "couldn't", "could not", "could not found", "i'll", "let's", "lets", "re-plan", "re-planning"}
    | {"double-check", "cross-checking", "checked", "verified", "accura", "accurate", "assum", "assumed"}
    | {"time", "timed", "out", "timeout", "web", "page", "webpage", "terminated", "_check", "check\u00e9"}
    | {"task is complete", "tasks done", "final answers", "results show", "\u0130"}
)
TEXTS = st.lists(st.sampled_from(WORDS) | st.sampled_from([" ", " ", "-", "_", ".", "\n", "  ", "x", "7"]))


@given(TEXTS.map("".join) | TEXTS.map(" ".join))
def test_counting_words_is_counting_the_matches_of_a_pattern(text: str) -> None:
    assert counts_of(text) == {name: len(found.findall(text)) for name, found in COMPILED.items()}


def test_every_family_is_found():
    text = (
        "i think we should let us check; suppose it failed, sorry: could you look up the sum, by hand? "
        "re-plan: estimated, no information. correct. final answer"
    )
    counts = counts_of(text)
    assert list(counts) == list(FAMILIES) == list(PATTERNS)
    assert {name: count for name, count in counts.items() if count != 1} == {"plan": 3, "guess": 2}
