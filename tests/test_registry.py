"""A registry refuses duplicates and suggests the nearest name."""

import pytest

from masfire.errors import DuplicateName, UnknownName
from masfire.registry import Registry


def test_duplicate_names_both_owners() -> None:
    registry: Registry[int] = Registry("thing")
    registry.add("one", 1, owner="first.module")
    with pytest.raises(DuplicateName, match=r"second\.module.*first\.module"):
        registry.add("one", 2, owner="second.module")
    assert registry.get("one") == 1


def test_unknown_name_says_the_nearest_and_the_list() -> None:
    registry: Registry[int] = Registry("fault")
    registry.add("message_storm", 1, owner="a")
    registry.add("message_cycle", 2, owner="a")
    with pytest.raises(UnknownName) as caught:
        registry.get("mesage_storm", where="plan.yaml:7")
    text = str(caught.value)
    assert text == (
        "plan.yaml:7: Unknown fault 'mesage_storm'. "
        "Did you mean 'message_storm'? Known: message_cycle, message_storm."
    )


def test_names_keep_the_order_of_registration() -> None:
    registry: Registry[int] = Registry("thing")
    for name in ("b", "a", "c"):
        registry.add(name, 0, owner="x")
    assert registry.names() == ["b", "a", "c"]
    assert "a" in registry
    assert len(list(registry)) == 3
