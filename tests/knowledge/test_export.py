"""A lessons file is refused when the memory could not be read again after it."""

from __future__ import annotations

import pytest

from masfire.errors import UsageError
from masfire.knowledge.export import from_yaml, to_yaml
from tests.support.lessons import note, schema

FILE = to_yaml([schema("hallucination", ["claim:conflict"])], [note()])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("last_used: 0.0", "last_used: .nan"),  # JSON has no NaN: every entry was unreadable from then on
        ("last_used: 0.0", "last_used: .inf"),
        ("hits: 0", "hits: -1"),
        ("support: 1", "support: 99999999999999999999999"),
        ("precision: null", "precision: .nan"),
        ("step: 3", "step: -7"),
        ("status: proposed", "status: whatever"),
    ],
)
def test_numbers_and_words_that_no_store_can_hold_are_refused(field: str, value: str) -> None:
    assert from_yaml(FILE).notes
    assert field in FILE
    with pytest.raises(UsageError):
        from_yaml(FILE.replace(field, value))


def test_all_mistakes_are_told_with_their_lines() -> None:
    text = (
        FILE.replace("status: proposed", "status: acepted")
        .replace("  fault: hallucination\n", "  falt: hallucination\n", 1)
        .replace("hits: 0", "hits: many", 1)
    )
    lines = {line.strip("- ").split(":")[0]: number for number, line in enumerate(text.splitlines(), 1)}
    with pytest.raises(UsageError) as caught:
        from_yaml(text, where="f.yaml")
    told = str(caught.value)
    assert "f.yaml has 4 mistakes" in told
    assert f"f.yaml:{lines['falt']}:3: Unknown key 'falt'" in told
    assert "Did you mean 'fault'?" in told
    assert "lacks the key 'fault'" in told
    assert "hits: Expected `int`, got `str`" in told
    assert f":{lines['status']}:11: status is 'acepted'; it must be proposed or accepted or rejected." in told
    with pytest.raises(UsageError, match="notes: Expected `array`, got `int`"):
        from_yaml("masfire: lessons/v1\nnotes: 3\n")
    with pytest.raises(UsageError, match="already given in line 1"):
        from_yaml("masfire: lessons/v1\nmasfire: lessons/v1\n")
