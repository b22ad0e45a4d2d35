"""What a secret looks like: value patterns and key names, in RE2 syntax."""

from __future__ import annotations

import re

from msgspec import Struct


class Secret(Struct, frozen=True):
    """A kind of secret: its name (shown in place of the value), what to look for, what to keep.

    `pattern` finds it in decoded text. `keep` is the replacement; it may refer to groups (`\\1`) that
    stay readable and must contain the word REDACTED, which becomes ``[redacted:<name>]``.
    """

    name: str
    pattern: str
    keep: str = "REDACTED"


_GAP = "[-_. ]?"
_NAMED = (
    rf"(?:api{_GAP}key|pass{_GAP}word|passwd|pass{_GAP}phrase|secret|(?:secret|private|access){_GAP}"
    rf"(?:access{_GAP})?key|(?:access|refresh|auth|bearer|session|security|api|bot|id|github|slack){_GAP}token|"
    r"authorization|credential|cookie)s?"
)
"""How the name of a secret ends (`OPENAI_API_KEY`, `dbPassword`, `client-secret`)."""

_BLOCK = "-----{} [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
_AUTH = r"authorization[\"']?\s*[:=]\s*[\"']?(?:basic|token|apikey|digest)\s+"
_ASSIGNED = rf"(?:{_NAMED}|\btoken|\bauth)\\*[\"']?\s*[:=]\s*\\*"

SECRETS: tuple[Secret, ...] = (
    Secret("private-key", rf"{_BLOCK.format('BEGIN')}(?s:.*?)(?:{_BLOCK.format('END')}|\z)"),
    Secret("anthropic-key", r"\bsk-ant-[A-Za-z0-9_-]{8,}"),
    Secret("openai-key", r"\b(?:sk|sess)-[A-Za-z0-9_-]{8,}"),
    Secret("stripe-key", r"\b[rsw][kh](?:sec)?_(?:live|test)_[A-Za-z0-9]{8,}"),
    Secret("aws-key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}"),
    Secret("github-token", r"\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,})"),
    Secret("gitlab-token", r"\bgl(?:pat|ptt|dt|rt)-[A-Za-z0-9_-]{16,}"),
    Secret("slack-token", r"\b(?:xox[a-z]|xapp)-[A-Za-z0-9-]{8,}|hooks\.slack\.com/services/[A-Za-z0-9/]+"),
    Secret("google-key", r"\bAIza[A-Za-z0-9_-]{20,}|\bya29\.[A-Za-z0-9_.-]{8,}"),
    Secret("huggingface-token", r"\bhf_[A-Za-z0-9]{16,}"),
    Secret("jwt", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    Secret("authorization", r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/-]{12,}=*", r"\1REDACTED"),
    Secret("authorization", rf"(?i)({_AUTH})[^\s\"']+", r"\1REDACTED"),
    Secret("url-password", r"([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@\"']*:)[^\s/@\"']+@", r"\1REDACTED@"),
    Secret("assigned-secret", rf"(?i)({_ASSIGNED}\")(?:[^\"\\]|\\.)+", r"\1REDACTED"),
    Secret("assigned-secret", rf"(?i)({_ASSIGNED}')(?:[^'\\]|\\.)+", r"\1REDACTED"),
    Secret("assigned-secret", rf"(?i)((?:{_NAMED}|\btoken)=)[^\s\"'&;<\[]{{4,}}", r"\1REDACTED"),
)  # fmt: skip
"""Looked for in every decoded string, in this order."""

_EDGE = r"(?:\b|\\[nrtbf])"
_SPACE = r"(?:\s|\\+[nrtf])"
_QUOTE = r"(?:\\*[\"'])"
_SLASHES = r"\\*/\\*/"

HINT = (
    rf"\\u[0-9a-fA-F]{{4}}|PRIVATE KEY|{_EDGE}(?:(?:sk|sess|xapp|xox[a-z])-|hf_|eyJ|AIza|ya29\.|"
    r"[rsw][kh](?:sec)?_(?:live|test)_|AKIA|ASIA|ABIA|ACCA|gh[pousr]_|gl(?:pat|ptt|dt|rt)-)|"
    rf"github_pat_|hooks\.slack\.com|(?i:{_EDGE}bearer{_SPACE})|:{_SLASHES}[^\s/:@\"']*:[^\s/@\"']+@|"
    rf"(?i:(?:{_NAMED}|{_EDGE}(?:token|auth)){_QUOTE}?{_SPACE}*[:=])"
)
"""Matches JSON text wherever one of SECRETS or a secret key could be in what it encodes, at any level.

The only escapes that JSON has for characters in those patterns are those of white space, quotes,
slashes and backslashes, which are allowed for here, and \\uXXXX, which always matches.
"""

SCREENED = 320
"""Longest JSON text (bytes) that `surely_clean` is worth asking about; RE2 overtakes it beyond."""


def surely_clean(encoded: bytes) -> bool:
    """Return whether HINT cannot match this JSON text; False means: ask HINT.

    Every alternative of HINT needs one of the literals below. Looking for them in a short text costs
    less than RE2 does once the program around has pushed its tables out of the processor's cache.
    RE2 takes U+017F for an s and U+212A for a k where case does not matter, so they count as literals.
    """
    text = encoded.decode("latin-1")
    low = encoded.lower().decode("latin-1")  # folds ASCII only
    return not (
        "key" in low or "pass" in low or "secret" in low or "token" in low or "auth" in low
        or "credential" in low or "cookie" in low or "bearer" in low
        or "@" in text or "\\u" in text or "eyJ" in text or "AIza" in text or "IA" in text or "ACCA" in text
        or ("." in text and ("ya29." in text or "hooks." in text))
        or ("-" in text and ("sk-" in text or "sess-" in text or "xapp-" in text or "xox" in text
                             or "gl" in text))
        or ("_" in text and ("hf_" in text or "_live_" in text or "_test_" in text or "_pat_" in text
                             or "gh" in text))
        or (not text.isascii() and ("\xc5\xbf" in text or "\xe2\x84\xaa" in text))
    )  # fmt: skip


_KEY = re.compile(rf"(?:{_NAMED}|^token|^auth)\Z", re.IGNORECASE | re.ASCII)


def names_a_secret(key: str) -> bool:
    """Return whether a JSON key says that its string value is a secret (`db_password`, `X-Api-Key`)."""
    return _KEY.search(key) is not None
