"""The reply cache keeps replies as they came, so its file is its owner's alone."""

import stat
from pathlib import Path

from masfire.models.cache import ReplyCache


def test_the_cache_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "replies.sqlite")
    cache.put("http://127.0.0.1/v1/chat/completions", {"model": "m", "messages": []}, b'{"choices": []}')
    cache.close()
    assert stat.S_IMODE((tmp_path / "replies.sqlite").stat().st_mode) == 0o600
