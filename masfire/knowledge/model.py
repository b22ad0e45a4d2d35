"""What is remembered of a failure: how to recognise it (a schema) and how not to repeat it (a note)."""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct

from masfire.errors import UsageError

MAX_TEXT = 2_000
"""Longest text field of a schema or note, in characters; longer ones are cut when they are made."""
MAX_EVIDENCE = 200
"""Most sources that a schema or note lists, so that none is counted twice; `support` goes on counting."""
MAX_TRAITS = 40
"""Most traits in a signature."""

PROPOSED, ACCEPTED, REJECTED = "proposed", "accepted", "rejected"


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """Where something was learnt: the run, the 0-based step, its agent, and who says so.

    `origin` is what quotas count by: a campaign folder, a test suite, a person.
    """

    run: str
    step: int = -1
    agent: str = ""
    origin: str = ""


class Signature(Struct, frozen=True, forbid_unknown_fields=True):
    """What gives an error away: predicates on a step and its window, and words (CORRECT, 2509.24088).

    `traits` are names of predicates, see `masfire.knowledge.traits`; `text` the telling words.
    """

    traits: tuple[str, ...]
    text: str = ""


class ErrorSchema(Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of error as it can be recognised again (CORRECT, 2509.24088: signature, context, heuristics).

    `context` are traits of the steps before; `heuristics` questions that a reviewer or a judge asks;
    `fault` the error class; `role` the culprit's role or agent. `support` counts the failures it was
    distilled from, `hits` how often it was recalled, `last_used` is in seconds since the epoch.
    `precision` is the share of its recognitions on stored, labelled runs that were right, drawn towards
    a quarter when they were few (None: not replayed yet), `replayed` how many recognitions these were.
    `general`: it is what two schemata of one fault have in common, no failure's own.
    """

    id: str
    signature: Signature
    fault: str
    role: str = ""
    context: tuple[str, ...] = ()
    heuristics: tuple[str, ...] = ()
    support: int = 1
    evidence: tuple[Source, ...] = ()
    hits: int = 0
    last_used: float = 0.0
    precision: float | None = None
    replayed: int = 0
    general: bool = False

    @property
    def document(self) -> str:
        """Return the text that it is found by."""
        return " ".join((self.fault, self.role, *self.signature.traits, self.signature.text))


class Subject(Struct, frozen=True, forbid_unknown_fields=True):
    """What a note is about: fault class, role, and the contract or tool; known without any model."""

    fault: str
    role: str = ""
    about: str = ""

    @property
    def key(self) -> str:
        """Return the subject as one line, the key by which notes are merged."""
        return f"{self.fault}/{self.role or '-'}/{self.about or '-'}"


class Item(Struct, frozen=True, forbid_unknown_fields=True):
    """One enrolled task of a trial: its outcome without the note and with it; None: no answer came."""

    id: str
    before: bool | None
    after: bool | None
    always: bool = False
    """Whether it had always passed before (k of k)."""


class Trial(Struct, frozen=True, forbid_unknown_fields=True):
    """What running a batch again with a note came to, and what was decided.

    `held_out` are tasks that the note was not made from. `wins` and `losses` count changed outcomes
    of the batch; `reasons` say why a note was rejected (empty: accepted). `way` is how the note was used:
    in the agents' `prompt`, or to `rewrite` what they proposed.
    """

    batch: tuple[Item, ...]
    held_out: tuple[Item, ...] = ()
    wins: int = 0
    losses: int = 0
    accepted: bool = False
    reasons: tuple[str, ...] = ()
    way: str = "prompt"


class Slot(Struct, frozen=True, forbid_unknown_fields=True):
    """A value that a role copied whenever a run was solved: of which key, in what, and from where.

    `kind` is `message`, `model_reply` or `tool_call`; `where` says whether the value always stood in the
    last message that the role was given (`last`) or in what its request was made from (`parents`).
    `values` are the texts that solved runs gave (empty: a number); `support` counts them. `cues` are what
    stood beside the value in prose (see `masfire.recovery.doubts.cue`; empty: not known).
    """

    kind: str
    key: str
    where: str
    values: tuple[str, ...] = ()
    support: int = 0
    cues: tuple[str, ...] = ()


class Habits(Struct, frozen=True, forbid_unknown_fields=True):
    """What a role did in every solved run: the slots that it copied, and the form of its JSON messages.

    `form` is JSON with null for each text or number, or empty when it was not always the same. Made by
    `masfire.recovery.habits`; used to put right what a note says goes wrong, never shown in a prompt.
    """

    slots: tuple[Slot, ...] = ()
    form: str = ""


class MistakeNote(Struct, frozen=True, forbid_unknown_fields=True):
    """How not to make a mistake again (MNL, 2512.11485), one a subject.

    `examples` show what went wrong; `approach` what is right; `mistake` the root cause; `strategy`
    what to do in general; `anti_patterns` when applying the note would be wrong. `status` is
    `proposed`, `accepted` or `rejected`; `trial` its score. `made_by` is `rules` or a model's name.
    `habits` is what the role did in solved runs (None: not known). All of it stems from traces: it is
    data, never an instruction to masfire.
    """

    id: str
    subject: Subject
    mistake: str
    approach: str
    strategy: str
    anti_patterns: str
    examples: tuple[str, ...] = ()
    evidence: tuple[Source, ...] = ()
    support: int = 1
    status: str = PROPOSED
    trial: Trial | None = None
    made_by: str = "rules"
    hits: int = 0
    last_used: float = 0.0
    habits: Habits | None = None

    @property
    def document(self) -> str:
        """Return the text that it is found by."""
        subject = self.subject
        return " ".join((subject.fault, subject.role, subject.about, self.mistake, self.strategy))


def cut(text: str, limit: int = MAX_TEXT) -> str:
    """Return text of at most `limit` characters; a cut is shown."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def schema_id(signature: Signature, *, fault: str, role: str) -> str:
    """Return the id of a schema: a hash of what it recognises, so that the same error gets the same id."""
    return _digest([fault, role, sorted(signature.traits), signature.text])


def note_id(subject: Subject, texts: tuple[str, ...]) -> str:
    """Return the id of a note: a hash of its subject and of what it says."""
    return _digest([subject.key, *texts])


def check_status(status: str) -> str:
    """Return `status` when it is one; raise UsageError otherwise."""
    known = (PROPOSED, ACCEPTED, REJECTED)
    if status not in known:
        raise UsageError(f"Note status {status!r} is unknown.", hint=f"Known: {', '.join(known)}.")
    return status


def _digest(parts: list[object]) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]
