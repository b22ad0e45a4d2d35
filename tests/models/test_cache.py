"""The reply cache: keyed by everything, shared by processes, counted."""

import sqlite3
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masfire.errors import UsageError
from masfire.models.cache import ReplyCache, request_key

URL = "http://127.0.0.1:8080/v1/chat/completions"
BODY = {
    "model": "m",
    "seed": 1,
    "temperature": 0.2,
    "messages": [{"role": "user", "content": "hé\u2028\ud800"}],
}

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_the_key_ignores_order_of_fields_and_nothing_else(body):
    shuffled = dict(reversed(body.items()))
    assert request_key(URL, body) == request_key(URL, shuffled)
    assert request_key(URL, {**body, "seed": "another"}) != request_key(URL, {**body, "seed": "one"})
    assert request_key(URL, body) != request_key("http://elsewhere/v1", body)


@pytest.mark.parametrize("field", ["model", "seed", "temperature", "messages"])
def test_another_request_misses(tmp_path, field):
    with ReplyCache(tmp_path / "c.sqlite") as cache:
        cache.put(URL, BODY, b"one")
        assert cache.get(URL, {**BODY, field: "other"}) is None
        assert cache.get(URL, BODY) == b"one"


def test_a_streamed_request_finds_the_whole_reply(tmp_path):
    with ReplyCache(tmp_path / "c.sqlite") as cache:
        cache.put(URL, BODY, b"one")
        assert cache.get(URL, {**BODY, "stream": True, "stream_options": {"include_usage": True}}) == b"one"


def test_the_first_reply_stays(tmp_path):
    with ReplyCache(tmp_path / "c.sqlite") as cache:
        cache.put(URL, BODY, b"one")
        cache.put(URL, BODY, b"two")
        assert cache.get(URL, BODY) == b"one"


def test_a_named_cache_survives_a_change_of_port(tmp_path):
    path = tmp_path / "c.sqlite"
    with ReplyCache(path, name="local") as cache:
        cache.put(URL, BODY, b"one")
    with ReplyCache(path, name="local") as cache:
        assert cache.get(URL.replace("8080", "9090"), BODY) == b"one"
    with ReplyCache(path, name="other") as cache:
        assert cache.get(URL, BODY) is None


def test_counts_add_up_over_openings(tmp_path):
    path = tmp_path / "c.sqlite"
    for _ in range(2):
        with ReplyCache(path) as cache:
            cache.get(URL, BODY)
            cache.put(URL, BODY, b"one")
            cache.get(URL, BODY)
    with ReplyCache(path) as cache:
        tally = cache.tally()
        assert (tally.hits, tally.misses, tally.entries) == (3, 1, 1)
        assert tally.saved == 0.75


def test_many_processes_share_one_file(tmp_path):
    path = tmp_path / "c.sqlite"
    program = textwrap.dedent(
        """
        import sys
        from masfire.models.cache import ReplyCache
        who = int(sys.argv[2])
        with ReplyCache(sys.argv[1]) as cache:
            for n in range(60):
                body = {"n": n}
                if cache.get("u", body) is None:
                    cache.put("u", body, b"%d:%d" % (n, who))
            for n in range(60):
                assert cache.get("u", {"n": n}).startswith(b"%d:" % n)
        """
    )
    workers = [subprocess.Popen([sys.executable, "-c", program, str(path), str(who)]) for who in range(4)]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0, 0, 0]
    with ReplyCache(path) as cache:
        tally = cache.tally()
    assert tally.entries == 60
    assert tally.hits + tally.misses == 4 * 120


def test_a_file_that_is_no_cache_is_refused_with_a_remedy(tmp_path):
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(UsageError, match=r"cannot be used.*Delete the file"):
        ReplyCache(path)


def test_a_cache_of_a_later_version_is_refused(tmp_path):
    path = tmp_path / "c.sqlite"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(UsageError, match="version 99"):
        ReplyCache(path)


OPENINGS = """
import sys, time
from masfire.models.cache import ReplyCache
print(flush=True)
start = float(sys.stdin.readline())
for n in range(40):
    time.sleep(max(0.0, start + n * 0.05 - time.time()))
    ReplyCache(f"{sys.argv[1]}/{n}.sqlite").close()
"""


def test_processes_that_open_a_new_cache_at_once_wait_for_each_other(tmp_path):
    """At once means: five processes create each of forty files at the same instant."""
    command = [sys.executable, "-c", OPENINGS, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    openers = [subprocess.Popen(command, text=True, **pipes) for _ in range(5)]
    for opener in openers:
        opener.stdout.readline()
    start = f"{time.time() + 0.3}\n"
    for opener in openers:
        opener.stdin.write(start)
        opener.stdin.flush()
    assert [opener.communicate(timeout=120)[1] for opener in openers] == [""] * 5
