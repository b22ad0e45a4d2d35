"""Text of unknown origin, made safe and short for a terminal, a page or a file."""

from __future__ import annotations


def printable(text: str, *, limit: int = 0, lines: bool = False) -> str:
    r"""Return `text` with every character that is not simply shown written as an escape.

    A line break becomes ``\n`` unless `lines` are kept. With a `limit` above 0 the middle of a longer
    text is left out.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    if limit and len(text) > limit:
        half = (limit - 1) // 2
        text = f"{text[: limit - 1 - half]}…{text[len(text) - half :]}"
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(letter, lines=lines) for letter in text)


def _shown(letter: str, *, lines: bool) -> str:
    if letter == "\n":
        return letter if lines else "\\n"
    if letter == "\t":
        return "\t" if lines else "\\t"
    if not letter.isprintable():
        code = ord(letter)
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return letter
