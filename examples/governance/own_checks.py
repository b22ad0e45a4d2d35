"""A check of one's own beside the policy, and a worker thread that takes its run along."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from masfire.adapters.govern_python import governed
from masfire.governance import Allow, Block, Blocked, Governor, Proposal, Rewrite, load_policy

booked: list[int] = []


def by_the_dozen(proposal: Proposal) -> Allow | Block | Rewrite:
    """Order whole dozens, and none of a supplier that is closed; every other proposal may pass."""
    if proposal.name != "place_order":
        return Allow()
    order = proposal.args
    if order["supplier"] == "Acme":
        return Block("Acme is closed in August.")
    if order["quantity"] % 12:
        dozens = order["quantity"] // 12 * 12
        return Rewrite({"args": {**order, "quantity": dozens}}, "Only whole dozens are sold.")
    return Allow()


governor = Governor(load_policy(Path(__file__).with_name("policy.yaml")), checks=[by_the_dozen])


@governed(governor, agent="clerk")
def place_order(quantity: int, supplier: str = "Bolt") -> str:
    """Book so many pieces."""
    booked.append(quantity)
    return f"booked {quantity} from {supplier}"


def main() -> None:
    """Order thirty pieces from a worker thread, which gets 24; then ask the closed supplier."""
    with governor.run(), ThreadPoolExecutor() as pool:
        print(pool.submit(governor.carry(place_order), 30).result())
        try:
            place_order(12, "Acme")
        except Blocked as blocked:
            print(blocked)


if __name__ == "__main__":
    main()
