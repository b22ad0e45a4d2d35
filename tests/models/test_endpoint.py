"""Where requests go: explicit, then the environment, then nowhere but here."""

import os

from masfire.models.endpoint import LOCAL_MODEL, Endpoint, configured


def test_nothing_configured_means_the_local_default():
    assert configured(environ={}) is None
    assert configured(environ={"OPENAI_API_KEY": "sk-1"}) is None


def test_the_environment_configures_an_endpoint():
    found = configured(
        environ={
            "OPENAI_BASE_URL": "http://h/v1/",
            "OPENAI_API_KEY": "k",
            "OPENAI_MODEL": "m",
            "MASFIRE_MODEL_SLOT": "512",
        }
    )
    assert found == Endpoint("http://h/v1", "k", "m", 512)


def test_arguments_win():
    environ = {"OPENAI_BASE_URL": "http://h/v1", "OPENAI_API_KEY": "k", "OPENAI_MODEL": "m"}
    assert configured("http://other/v1", "q", "n", slot=9, environ=environ) == Endpoint(
        "http://other/v1", "q", "n", 9
    )
    assert configured(environ={"OPENAI_API_BASE": "http://h/v1"}) == Endpoint(
        "http://h/v1", "none", LOCAL_MODEL
    )


def test_an_exported_endpoint_leaves_the_environment_as_it_was(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "before")
    monkeypatch.delenv("OPENAI_MODEL", raising=False)
    with Endpoint("http://h/v1", "k", "m", 100).exported():
        assert os.environ["OPENAI_BASE_URL"] == "http://h/v1"
        assert os.environ["OPENAI_MODEL"] == "m"
        assert configured() == Endpoint("http://h/v1", "k", "m", 100)
    assert os.environ["OPENAI_BASE_URL"] == "before"
    assert "OPENAI_MODEL" not in os.environ
