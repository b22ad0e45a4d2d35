"""How often the words of a family (hedges, errors, plans, …) stand in a text: one pass for all families.

A family is words, stems (any ending) and phrases. `counts_of` gives exactly the number of matches that
one regular expression a family would (the test has them), for a fraction of the cost: words are looked up
instead of tried at every character, and a phrase is searched for only where all its words are. This is
exact because no word of a phrase is itself in the phrase's family.
"""

from __future__ import annotations

import re
from collections import Counter

_WORDS = {
    "hedge": "might perhaps possibly probably likely seem seems appear appears approximately roughly "
    "typically generally usually",
    "assume": "suppose example sample placeholder known recall knowledge",
    "error": "error errors failed failure exception traceback invalid incorrect wrong unable cannot timeout "
    "timedout denied missing",
    "refuse": "sorry unfortunately",
    "plan": "lets next first plan step steps proceed",
    "verify": "ensure",
    "conclude": "therefore thus hence final finally total",
    "finish": "",
    "ask": "please",
    "manual": "manual manually directly visually",
    "search": "browse scrape download website webpage typed",
    "compute": "sum average formula equation",
    "correct": "correct corrected correction correctly accurate verified confirmed matches consistent indeed",
    "loop": "in_loop again retry continue",
    "guess": "approximation educated unclear unknown",
}
_STEMS = {
    "assume": "assum+ hypothetical mock simulat+",
    "refuse": "apolog+",
    "verify": "verif+ check confirm validat+ accura+",
    "conclude": "conclu+",
    "finish": "terminate",
    "manual": "inspect",
    "search": "search click scroll",
    "compute": "calculat+ comput+ count convert",
    "loop": "loop stall repeat replan",
    "guess": "guess estimat+ infer",
}
"""Beginnings of words; with + something must follow."""
_PHRASES = {
    "hedge": "may be|should be|i think|i believe",
    "assume": "based on my|based on general|based on common|based on available|based on historical",
    "error": "can't|couldn't|could not|not found|not available|not defined|not possible|time out|timed out",
    "refuse": "unable to|i cannot|i can't|do not have access|does not have access",
    "plan": "let's|let us|we will|i will|i'll|we need to|we should",
    "conclude": "in summary|result is|result are|result show|result shows|results is|results are|"
    "results show|results shows|the answer",
    "finish": "final answer*|request satisfied*|task complete*|task done*|task is complete*|task is done*",
    "ask": "could you|can you|would you|do you",
    "manual": "by hand",
    "search": "look up|web page",
    "loop": "re-plan*",
    "guess": "no information",
}
"""Phrases of words with one character between them; with * the last word may go on."""

FAMILIES = tuple(_WORDS)


_TOKEN = re.compile(r"\w+")
_EXACT: dict[str, tuple[str, ...]] = {}
for _family, _words in _WORDS.items():
    for _word in _words.split():
        _EXACT[_word] = (*_EXACT.get(_word, ()), _family)
_OF_STEM = {
    stem.rstrip("+"): (family, stem[-1] == "+") for family in _STEMS for stem in _STEMS[family].split()
}
_LEAD = 4
_LEADS = frozenset(stem[:_LEAD] for stem in _OF_STEM)
_STEM = re.compile("|".join(sorted(_OF_STEM, key=len, reverse=True)))
_SOUGHT = [
    (family, phrase.rstrip("*"), open_end, frozenset(words[:-1] if open_end else words))
    for family, phrases in _PHRASES.items()
    for phrase in phrases.split("|")
    for words, open_end in ((_TOKEN.findall(phrase), phrase.endswith("*")),)
]
"""Of each phrase: its family, its text, whether its last word may go on, and the words it needs."""
_PARTS = frozenset(word for *_, words in _SOUGHT for word in words)


def counts_of(lowered: str) -> dict[str, int]:
    """Return how often each family occurs in a lower-cased text."""
    counts = dict.fromkeys(FAMILIES, 0)
    words = Counter(_TOKEN.findall(lowered))
    for word in words.keys() & _EXACT.keys():
        for family in _EXACT[word]:
            counts[family] += words[word]
    for word in [word for word in words if word[:_LEAD] in _LEADS]:
        found = _STEM.match(word)
        if found is not None:
            family, longer = _OF_STEM[found[0]]
            if not longer or len(word) > found.end():
                counts[family] += words[word]
    present = words.keys() & _PARTS
    if present:
        spans: dict[str, list[tuple[int, int]]] = {}
        for family, phrase, longer, needed in _SOUGHT:
            if needed <= present:
                spans.setdefault(family, []).extend(_spans(phrase, longer, lowered))
        for family, found_at in spans.items():
            counts[family] += _apart(found_at)
    return counts


def _spans(phrase: str, longer: bool, lowered: str) -> list[tuple[int, int]]:
    """Return where a phrase stands as words of its own; with `longer` its last word may go on."""
    spans = []
    start = lowered.find(phrase)
    while start >= 0:
        end = start + len(phrase)
        if not _in_word(lowered[start - 1 : start]) and (longer or not _in_word(lowered[end : end + 1])):
            spans.append((start, end))
        start = lowered.find(phrase, start + 1)
    return spans


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _apart(spans: list[tuple[int, int]]) -> int:
    """Return how many spans are left when none may begin inside the one counted before."""
    count = last = 0
    for start, end in sorted(spans):
        if start >= last:
            count, last = count + 1, end
    return count
