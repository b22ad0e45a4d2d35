"""A small pytest project for pytester, with as few plugins as a test needs, so that it starts quickly."""

import pytest

STRICT = """[pytest]
addopts = --strict-markers --strict-config -p no:cacheprovider
filterwarnings = error
{more}
"""

ASYNCIO = "asyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"


def configure(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
    """Let the project load masfire's plugin alone."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "masfire.pytest_plugin")
    pytester.makeini(STRICT.format(more=more))


def load_installed_plugins(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, more: str = ASYNCIO
) -> None:
    """Let the project load every installed plugin through its entry point, as a user's does."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    monkeypatch.delenv("PYTEST_PLUGINS")
    pytester.makeini(STRICT.format(more=more))
