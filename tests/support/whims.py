"""An agent whose prompts hold what it draws from chance and reads off the clock."""

import datetime
import random
import time
import uuid
from datetime import datetime as moment
from random import choice, shuffle
from uuid import uuid4


def prompt() -> str:
    """Return words that are other ones every time."""
    cards = list("abcdefgh")
    shuffle(cards)
    drawn = [
        choice(cards), "".join(cards), random.random(), random.randint(1, 10**6), random.gauss(0, 1),
        random.sample(range(1000), 5), uuid4(), uuid.uuid4().hex, time.time(), time.monotonic(),
        moment.now().isoformat(), datetime.datetime.now(datetime.UTC).isoformat(),
    ]  # fmt: skip
    assert isinstance(moment(2026, 1, 2), datetime.datetime)
    assert isinstance(moment.now(), moment)
    return " ".join(map(str, drawn))
