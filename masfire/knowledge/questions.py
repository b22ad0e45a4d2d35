"""The traits by name, each as the question that a reviewer would ask (a schema's detection heuristics)."""

from __future__ import annotations

from collections.abc import Mapping

QUESTIONS: Mapping[str, str] = {
    "args:text": "Are the tool's arguments text that is no JSON object?",
    "args:empty": "Was the tool called without arguments?",
    "tool:new": "Is this a tool that this agent has not used successfully?",
    "call:repeated": "Has the same call been made before with the same arguments?",
    "result:failed": "Did the call fail?",
    "reply:empty": "Did the model answer nothing?",
    "reply:cut": "Was the answer cut off at the length limit?",
    "reply:prose": "Is the answer prose where JSON was asked for?",
    "reply:failed": "Did the model call itself fail?",
    "request:long": "Is the request several times as long as this agent's others?",
    "request:short": "Is the request much shorter than this agent's others?",
    "request:repeats": "Does the request hold the same text several times?",
    "request:systems": "Does the request hold several system instructions?",
    "message:repeated": "Was the same message sent before?",
    "message:empty": "Is the message empty?",
    "message:to-self": "Does the message go back to its sender?",
    "message:broadcast": "Does the message go to more agents than usual?",
    "message:shorter": "Is the message much shorter than what it was made from?",
    "claim:new-number": "Does it state a number that nothing in its input states?",
    "claim:new-name": "Does it name something that nothing in its input names?",
    "claim:lost-number": "Does it leave out a number that its input states?",
    "claim:conflict": "Does it give a field another value than its input does?",
    "claim:hedged": "Does it hedge?",
    "input:conflict": "Do its inputs contradict one another?",
    "claim:lost-name": "Does it leave out a name that its input states?",
    "claim:new-value": "Does it fill a field with words that its input does not hold?",
    "claim:lost-field": "Does it leave out a field where it passes its input's other fields on?",
    "plan:cycle": "Do steps of the plan wait for one another in a circle?",
    "plan:unknown": "Does a step of the plan wait for one that is not in it?",
    "input:user": "Is it made from the user's own words?",
    "input:tool": "Is it made from a tool's result?",
    "turn:first": "Is it the first such step of its agent?",
    "task:vague": "Does the task say what is wanted in indefinite words only?",
    "request:overlong": "Is the request several times as long as all agents' usual ones?",
    "request:drops": "Does the request leave out messages that its agent was sent?",
    "then:failed": "Does the agent's next call fail?",
    "then:rejected": "Does the first tool call made from it, by whoever it was sent to, fail?",
    "then:repeated": "Is the same message sent again later?",
    "then:over": "Does the run end without any later message?",
    "words:error": "Does it speak of an error?",
}
"""Trait → the question that a reviewer would ask (a schema's detection heuristics)."""

_PREFIXES = ("kind:", "error:")
"""Traits with a value: the step's kind, the type of the error that came back."""


def question_of(trait: str) -> str:
    """Return the question that a trait asks."""
    if trait in QUESTIONS:
        return QUESTIONS[trait]
    kind, _, value = trait.partition(":")
    return f"Is it a {value.replace('_', ' ')}?" if kind == "kind" else f"Is the error a {value}?"


def known_trait(trait: str) -> bool:
    """Return whether a name is one of a trait."""
    return trait in QUESTIONS or trait.startswith(_PREFIXES)
