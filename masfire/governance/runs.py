"""What is remembered of a run while it lasts: accounts, reservations, blocks; and of tools: health."""

from __future__ import annotations

import threading

import msgspec

from masfire.governance.capabilities import Grant, Limits
from masfire.governance.history import History
from masfire.governance.ledger import Account, Cost, Reservation
from masfire.governance.policy import Breaker, Policy
from masfire.governance.ruling import Proposal, Refusal, ToolError
from masfire.governance.timing import Share, allocate

NO_LIMITS = Limits()


class RunState:
    """Guards one run's accounts; whoever calls its methods holds it (`with state.held(…)`)."""

    def __init__(self, policy: Policy, history: History | None) -> None:
        self.history = history
        self.accounts: dict[str, Account] = {}
        self.blocks: dict[str, int] = {}
        """How often each agent was blocked."""
        self._whole = Account("the run", policy.run) if policy.run is not None else None
        self._reserved: dict[int, Reservation] = {}
        self._time = policy.time_budget
        self._done: list[str] = []
        self._began: float | None = None
        self._lock = threading.RLock()

    def held(self, seconds: float) -> RunState:
        """Take the run's lock until the end of the `with`; raise Refusal when it is not free in `seconds`."""
        if not self._lock.acquire(timeout=seconds):
            reason = f"Another decision of this run has not ended within {seconds:g} s."
            error = ToolError("internal", reason, retryable=True, retry_after_ms=1000)
            raise Refusal("timeout:lock", reason, error)
        return self

    def __enter__(self) -> RunState:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def require_trust(self, agent: str, most: int | None) -> None:
        """Raise Refusal when the agent was blocked `most` times in this run."""
        if most is not None and self.blocks.get(agent, 0) >= most:
            reason = f"{agent} is in quarantine: it was blocked {self.blocks[agent]} times in this run."
            raise Refusal("quarantine", reason, ToolError("quarantine", reason))

    def blame(self, agent: str) -> None:
        """Count a block of this agent."""
        self.blocks[agent] = self.blocks.get(agent, 0) + 1

    def reserve(
        self, ticket: int, proposal: Proposal, grant: Grant, now: float, need: tuple[int, float | None]
    ) -> None:
        """Set aside what the action may use; raise Refusal when an account cannot afford it."""
        limits = grant.limits
        account = self.accounts.get(proposal.agent)
        if account is None:
            account = self.accounts[proposal.agent] = Account(proposal.agent, limits or NO_LIMITS)
        whole = self._whole
        tokens, money = need
        if money is None:
            if any(one is not None and one.limits.money is not None for one in (account, whole)):
                reason = f"Nobody knows the price of {proposal.name!r}, and money is limited."
                raise Refusal("budget:money", reason, ToolError("budget", reason))
            money = 0.0
        counted = ""
        for rule, capability in grant.capabilities:
            money += capability.cost
            if capability.calls is not None:
                counted = rule
                if account.calls.get(rule, 0) >= capability.calls:
                    reason = f"{proposal.agent} may do {proposal.name!r} {capability.calls} times in a run."
                    raise Refusal("budget:calls", reason, ToolError("budget", reason))
        cost = Cost(1, tokens, money)
        account.afford(cost, now)
        if whole is not None:
            whole.afford(cost, now)
            whole.add(cost, now)
        account.add(cost, now)
        if counted:
            account.calls[counted] = account.calls.get(counted, 0) + 1
        self._reserved[ticket] = Reservation(
            (account, whole) if whole is not None else (account,), cost, counted
        )

    def share_time(self, tool: str, now: float) -> tuple[Share, ...]:
        """Return the shares of this call and of those still foreseen; raise Refusal when no time is left.

        Empty without a time budget.
        """
        if self._time is None:
            return ()
        if self._began is None:
            self._began = now
        left = self._time.seconds - (now - self._began)
        if left <= 0:
            reason = f"The {self._time.seconds:g} s for this chain of calls are over."
            raise Refusal("budget:time", reason, ToolError("budget", reason))
        foreseen = list(self._time.chain)
        for done in self._done:
            if done in foreseen:
                foreseen.remove(done)
        if tool in foreseen:
            foreseen.remove(tool)
            chain = [tool, *foreseen]
        else:
            chain = [tool]
        self._done.append(tool)
        return allocate(chain, self._time.latencies, left)

    def settle(self, ticket: int, tokens: int | None) -> None:
        """Replace what was set aside by what was used; without `tokens` the estimate stands."""
        held = self._reserved.pop(ticket, None)
        if held is None or tokens is None or tokens < 0:
            return
        before = held.cost
        share = before.money * tokens / before.tokens if before.tokens else before.money
        change = Cost(0, tokens - before.tokens, share - before.money)
        for account in held.accounts:
            account.add(change, 0.0)

    def give_back(self, ticket: int) -> None:
        """Free what was set aside."""
        held = self._reserved.pop(ticket, None)
        if held is None:
            return
        for account in held.accounts:
            account.add(held.cost, 0.0, -1)
        if held.counted:
            held.accounts[0].calls[held.counted] -= 1


class _Tool(msgspec.Struct):
    failures: int = 0
    closed_until: float = 0.0
    trying: bool = False


class Health:
    """Guards the circuit breakers of all tools, over all runs."""

    def __init__(self, breaker: Breaker | None) -> None:
        self._breaker = breaker
        self._tools: dict[str, _Tool] = {}
        self._lock = threading.Lock()

    def require(self, name: str, now: float) -> None:
        """Raise Refusal while a tool is left alone; after that one call at a time may try it."""
        if self._breaker is None:
            return
        with self._lock:
            tool = self._tools.get(name)
            if tool is None or tool.failures < self._breaker.failures:
                return
            wait = tool.closed_until - now
            if wait <= 0 and not tool.trying:
                tool.trying = True
                return
        wait = max(wait, 0.001)
        reason = f"{name!r} failed {tool.failures} times in a row; it is left alone for {wait:.1f} s."
        error = ToolError("breaker", reason, True, int(wait * 1000) + 1, "use another tool or wait")
        raise Refusal("breaker", reason, error)

    def note(self, name: str, *, ok: bool, now: float) -> None:
        """Take note of a call's success or failure."""
        if self._breaker is None:
            return
        with self._lock:
            tool = self._tools.setdefault(name, _Tool())
            tool.trying = False
            if ok:
                tool.failures = 0
                return
            tool.failures += 1
            if tool.failures >= self._breaker.failures:
                tool.closed_until = now + self._breaker.seconds

    def give_back(self, name: str) -> None:
        """A call that was to try a tool did not begin."""
        with self._lock:
            if name in self._tools:
                self._tools[name].trying = False
