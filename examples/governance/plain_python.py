"""Plain Python under governance: one import, three lines."""

from __future__ import annotations

from pathlib import Path

from masfire.adapters.govern_python import governed
from masfire.governance import Blocked, Governor, load_policy

governor = Governor(load_policy(Path(__file__).with_name("policy.yaml")))
booked: list[int] = []


@governed(governor, agent="clerk")
def place_order(quantity: int) -> str:
    """Book so many pieces."""
    booked.append(quantity)
    return f"booked {quantity}"


@governed(governor, agent="clerk", name="place_order")
async def place_order_later(quantity: int) -> str:
    """Book so many pieces, asynchronously."""
    booked.append(quantity)
    return f"booked {quantity}"


def main() -> None:
    """Order twelve pieces, then far too many."""
    with governor.run("example"):
        print(place_order(12))
        try:
            place_order(5_000)
        except Blocked as blocked:
            print(blocked)


if __name__ == "__main__":
    main()
