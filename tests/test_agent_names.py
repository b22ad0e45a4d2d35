"""`masfire.agent` names who acts: a block, a function, an async function; nothing else by accident."""

from __future__ import annotations

import asyncio

import pytest

import masfire
from masfire.errors import UsageError
from masfire.recorder.acting import ACTOR


def name() -> str:
    actor = ACTOR.get()
    return actor.agent if actor else ""


def test_a_block_and_the_blocks_inside_it():
    outer = masfire.agent("outer")
    with outer:
        with masfire.agent("inner", role="r"), outer:
            assert name() == "outer"
        assert name() == "outer"
    assert name() == ""


def test_functions_are_decorated_and_keep_their_names():
    @masfire.agent("writer")
    def write(depth: int) -> list[str]:
        return [name(), *(write(depth - 1) if depth else [])]

    @masfire.agent("later")
    async def late() -> str:
        await asyncio.sleep(0)
        return name()

    async def both() -> list[str]:
        return await asyncio.gather(late(), late())

    assert write(2) == ["writer"] * 3
    assert write.__name__ == "write"
    assert asyncio.run(both()) == ["later", "later"]
    assert name() == ""


def test_a_function_in_place_of_a_name_is_refused():
    with pytest.raises(UsageError, match=r"@masfire\.agent\('planner'\)"):

        @masfire.agent  # type: ignore[arg-type]
        def planner() -> None: ...

    with pytest.raises(UsageError, match="named by a text"):
        masfire.agent("")
    with pytest.raises(UsageError, match="inside it"):

        @masfire.agent("stream")
        def stream():
            yield 1
