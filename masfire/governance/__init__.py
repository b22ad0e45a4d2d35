"""Governance: what agents may do, decided before it happens, logged, and closed by default."""

from masfire.governance.audit import AuditError, AuditLog, verify
from masfire.governance.capabilities import AgentRules, Bound, Capability, Limits
from masfire.governance.governor import Governor
from masfire.governance.policy import Breaker, Lineage, Policy, Price, TimeBudget, allow
from masfire.governance.ruling import Allow, Block, Blocked, Outcome, Proposal, Rewrite, Ruling, ToolError

__all__ = [
    "AgentRules", "Allow", "AuditError", "AuditLog", "Block", "Blocked", "Bound", "Breaker", "Capability",
    "Governor", "Limits", "Lineage", "Outcome", "Policy", "Price", "Proposal", "Rewrite", "Ruling",
    "TimeBudget", "ToolError", "allow", "verify",
]  # fmt: skip
