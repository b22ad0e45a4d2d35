"""masfire: record, break, judge and guard multi-agent LLM systems.

Everything a user needs by name; each is imported when first touched, so `import masfire` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from masfire.analysis import Report, analyze
    from masfire.checking import ContractInconclusive, ContractViolation, check
    from masfire.contracts.decorators import step_contract, trace_contract
    from masfire.contracts.loader import load_contracts
    from masfire.errors import MasfireError
    from masfire.faults.base import Fault, FaultSpec
    from masfire.knowledge.opening import open_memory
    from masfire.recorder import Budget, agent
    from masfire.session import Run, run
    from masfire.trace.io import read_trace
    from masfire.trace.model import Step, Trace

__version__ = "0.1.0"

_HOMES = {
    "Budget": "masfire.recorder",
    "ContractInconclusive": "masfire.checking",
    "ContractViolation": "masfire.checking",
    "Fault": "masfire.faults.base",
    "FaultSpec": "masfire.faults.base",
    "MasfireError": "masfire.errors",
    "Report": "masfire.analysis",
    "Run": "masfire.session",
    "Step": "masfire.trace.model",
    "Trace": "masfire.trace.model",
    "agent": "masfire.recorder",
    "analyze": "masfire.analysis",
    "check": "masfire.checking",
    "load_contracts": "masfire.contracts.loader",
    "open_memory": "masfire.knowledge.opening",
    "read_trace": "masfire.trace.io",
    "run": "masfire.session",
    "step_contract": "masfire.contracts.decorators",
    "trace_contract": "masfire.contracts.decorators",
}

__all__ = [
    "Budget",
    "ContractInconclusive",
    "ContractViolation",
    "Fault",
    "FaultSpec",
    "MasfireError",
    "Report",
    "Run",
    "Step",
    "Trace",
    "__version__",
    "agent",
    "analyze",
    "check",
    "load_contracts",
    "open_memory",
    "read_trace",
    "run",
    "step_contract",
    "trace_contract",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'masfire' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
