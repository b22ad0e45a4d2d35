"""What is remembered of a run while it lasts: accounts, reservations, blocks; and of tools: health."""

from __future__ import annotations

import threading
from itertools import islice

import msgspec

from masfire.governance.capabilities import Grant, Limits
from masfire.governance.history import History
from masfire.governance.ledger import Account, Reservation
from masfire.governance.policy import Breaker, Policy
from masfire.governance.ruling import Proposal, Refusal, ToolError
from masfire.governance.timing import Share, allocate

NO_LIMITS = Limits()
MAX_RESERVED = 65_536
"""Actions of a run that may be under way at once; of an older one the estimate stands for good."""


class RunState:
    """Guards one run's accounts; whoever calls its methods holds it (`with state.held(…)`)."""

    def __init__(self, policy: Policy, history: History | None) -> None:
        self.history = history
        self.accounts: dict[str, Account] = {}
        self.blocks: dict[str, int] = {}
        """How often each agent was blocked."""
        self._whole = Account("the run", policy.run) if policy.run is not None else None
        self._reserved: dict[int, Reservation | Account] = {}
        """What each action under way holds; an account: one step of its, and nothing else."""
        self._time = policy.time_budget
        self._done: list[str] = []
        self._began: float | None = None
        self.closed: Refusal | None = None
        """Why nothing more is decided in this run, or None."""
        self._lock = threading.RLock()
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def held(self, seconds: float) -> RunState:
        """Take the run's lock until the end of the `with`; raise Refusal when it is not free in `seconds`."""
        if not self.acquire(timeout=seconds):
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
            error = ToolError("quarantine", reason, suggested_action="stop here and report what is done")
            raise Refusal("quarantine", reason, error)

    def blame(self, agent: str) -> None:
        """Count a block of this agent."""
        self.blocks[agent] = self.blocks.get(agent, 0) + 1

    def reserve(
        self, ticket: int, proposal: Proposal, grant: Grant, now: float, need: tuple[int, float | None]
    ) -> None:
        """Set aside what the action may use; raise Refusal when an account cannot afford it."""
        limits, agent = grant.limits, proposal.agent
        account = self.accounts.get(agent)
        if account is None:
            account = self.accounts[agent] = Account(agent, limits or NO_LIMITS, self._whole)
        elif limits is not None and limits is not account.limits:
            account.limits = limits  # a role that was not declared before brings its own
        tokens, money = need
        if money is None:
            if any(one.limits.money is not None for one in account.shared):
                reason = f"Nobody knows the price of {proposal.name!r}, and money is limited."
                raise Refusal("budget:money", reason, ToolError("budget", reason))
            money = 0.0
        money += grant.cost
        for rule, most in grant.counted:
            if account.calls.get(rule, 0) >= most:
                reason = f"{agent} may do {proposal.name!r} {most} times in a run."
                raise Refusal("budget:calls", reason, ToolError("budget", reason))
        account.afford(tokens, money, now)
        if self._whole is not None:
            self._whole.afford(tokens, money, now)
            self._whole.add(1, tokens, money, now)
        account.add(1, tokens, money, now)
        for rule, _ in grant.counted:
            account.calls[rule] = account.calls.get(rule, 0) + 1
        more = tokens or money or grant.counted
        self._reserved[ticket] = (
            Reservation(account.shared, tokens, money, grant.counted) if more else account
        )
        if len(self._reserved) > MAX_RESERVED:  # many at once: finding the oldest of a dict takes a while
            for old in list(islice(self._reserved, MAX_RESERVED // 256)):
                del self._reserved[old]

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
        held = self._taken(ticket)
        if held is None or tokens is None or tokens < 0:
            return
        share = held.money * tokens / held.tokens if held.tokens else held.money
        for account in held.accounts:
            account.add(0, tokens - held.tokens, share - held.money, 0.0)

    def _taken(self, ticket: int) -> Reservation | None:
        held = self._reserved.pop(ticket, None)
        return Reservation(held.shared, 0, 0.0) if isinstance(held, Account) else held

    def give_back(self, ticket: int) -> None:
        """Free what was set aside."""
        held = self._taken(ticket)
        if held is None:
            return
        for account in held.accounts:
            account.add(-1, -held.tokens, -held.money, 0.0)
        for rule, _ in held.counted:
            held.accounts[0].calls[rule] -= 1


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
