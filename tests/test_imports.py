"""What people import in production stays light."""

import subprocess
import sys

import pytest

HEAVY = (
    "numpy", "scipy", "networkx", "pydantic", "openai", "langgraph", "langchain_core", "pytest",
    "hypothesis", "yaml",
)  # fmt: skip


@pytest.mark.parametrize("module", ["masfire", "masfire.recorder", "masfire.trace.model", "masfire.errors"])
def test_import_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == []


def test_every_public_name_resolves() -> None:
    import masfire

    for name in masfire.__all__:
        assert getattr(masfire, name) is not None


def test_unknown_public_name_is_an_attribute_error() -> None:
    import masfire

    with pytest.raises(AttributeError, match="no attribute 'chaos'"):
        masfire.chaos  # noqa: B018 - the access is the test
