"""Governance: what agents may do, decided before it happens, logged, and closed by default."""

from __future__ import annotations

import os

from masfire.governance.audit import AuditError, AuditLog, verify
from masfire.governance.bounds import Bound
from masfire.governance.capabilities import AgentRules, Capability, Limits
from masfire.governance.governor import Governor
from masfire.governance.policy import Breaker, Lineage, Policy, Price, TimeBudget, allow
from masfire.governance.ruling import Allow, Block, Blocked, Outcome, Proposal, Rewrite, Ruling, ToolError

__all__ = [
    "AgentRules", "Allow", "AuditError", "AuditLog", "Block", "Blocked", "Bound", "Breaker", "Capability",
    "Governor", "Limits", "Lineage", "Outcome", "Policy", "Price", "Proposal", "Rewrite", "Ruling",
    "TimeBudget", "ToolError", "allow", "load_policy", "verify",
]  # fmt: skip


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """Return the policy in a YAML file (`masfire: policy/v1`); reading it needs pydantic and PyYAML.

    Raise PolicyErrors with every mistake and its place.
    """
    from masfire.governance.policyfile import load_policy as load

    return load(path)
