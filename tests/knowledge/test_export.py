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
