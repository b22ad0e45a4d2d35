"""Learning in a program of one's own: fail, blame, note, try the note, file what the trial accepted.

`masfire learn DIR --try` does this with the failed runs of a campaign; here the runs are two orders.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from examples.recovery import rewrite
from masfire.knowledge.model import ACCEPTED, Item, MistakeNote
from masfire.knowledge.notebook import Notebook, judge
from masfire.knowledge.store import SqliteStore
from masfire.recovery import Attempt, blame, rewriter
from masfire.session import attempt

ORDERS = {"Please send 4 chairs to Rome.": "4 to Rome", "Please send 7 chairs to Oslo.": "7 to Oslo"}


def learn(path: Path) -> list[MistakeNote]:
    """Learn from the desk's failures, put what helped into the memory at `path`, and return it."""
    with SqliteStore(path) as store:
        notebook = Notebook(store)
        before = {mail: serve(mail, []) for mail in ORDERS}
        failures = [found for tried in before.values() if (found := blame(tried.trace)) is not None]
        for note in notebook.propose(failures, way="rewrite"):
            on_trial = [msgspec.structs.replace(note, status=ACCEPTED)]
            after = {mail: serve(mail, [rewriter(on_trial).always]) for mail in ORDERS}
            batch = [Item(mail, before[mail].passed, after[mail].passed) for mail in ORDERS]
            notebook.settle(note, judge(batch, way="rewrite"))
        return notebook.accepted()


def serve(mail: str, interceptors: Sequence[Any]) -> Attempt:
    """Serve one order, recorded, and judge what was booked."""

    def desk(task: dict[str, str]) -> str:
        return str(rewrite.build().invoke(task)["answer"])

    return attempt(
        desk,
        {"mail": mail},
        check=lambda task, answer: answer == f"booked {ORDERS[mail]}",
        interceptors=interceptors,
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for learnt in learn(Path(folder, "memory.sqlite")):
            score = f"{learnt.trial.wins} wins, {learnt.trial.losses} losses" if learnt.trial else "not tried"
            print(f"{learnt.status} as a rewrite ({score}): {learnt.subject.key}\n  {learnt.mistake}")
