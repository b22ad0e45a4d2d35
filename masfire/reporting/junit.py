"""A check as JUnit XML, which CI servers show: a suite a trace, a case a contract."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from masfire.contracts.model import Status, Verdict
from masfire.reporting.checked import Check, Checked
from masfire.reporting.printable import printable
from masfire.reporting.sarif import headline
from masfire.reporting.violations import told_lines


def junit(check: Check) -> str:
    """Return the check as an XML document.

    A violation of error severity is a failure, one of lower severity is told in `system-out`;
    inconclusive and pending are errors, and a contract that did not apply is skipped.
    """
    root = ET.Element("testsuites", name="masfire check")
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for one in check.checked:
        suite = ET.SubElement(root, "testsuite", name=printable(one.source))
        cases = [_case(suite, one, verdict, check) for verdict in one.verdicts]
        if one.damage:
            cases.append(_damage(suite, one))
        counts = {
            "tests": len(cases),
            "failures": cases.count("failure"),
            "errors": cases.count("error"),
            "skipped": cases.count("skipped"),
        }
        for name, number in counts.items():
            suite.set(name, str(number))
            totals[name] += number
    for name, number in totals.items():
        root.set(name, str(number))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, one: Checked, verdict: Verdict, check: Check) -> str:
    case = ET.SubElement(suite, "testcase", classname=printable(one.source), name=printable(verdict.contract))
    if verdict.status is Status.SATISFIED:
        return ""
    if verdict.status is Status.VACUOUS:
        ET.SubElement(case, "skipped", message="nothing it speaks of happened")
        return "skipped"
    if verdict.status is not Status.VIOLATED:
        cause = verdict.causes[0][0] if verdict.causes else "an obligation is open"
        told = printable(cause, limit=500)
        ET.SubElement(case, "error", type=verdict.status.value, message=told).text = told
        return "error"
    text = _report(one, verdict, check)
    if verdict.severity != "error":
        ET.SubElement(case, "system-out").text = text
        return ""
    first = verdict.violations[0]
    failure = ET.SubElement(case, "failure", type="ContractViolation", message=headline(first, one))
    failure.text = text
    return "failure"


def _damage(suite: ET.Element, one: Checked) -> str:
    case = ET.SubElement(suite, "testcase", classname=printable(one.source), name="whole")
    told = printable(one.damage, limit=500)
    ET.SubElement(case, "error", type="TraceError", message=told).text = told
    return "error"


def _report(one: Checked, verdict: Verdict, check: Check) -> str:
    contract = next(contract for contract in check.contracts if contract.id == verdict.contract)
    told = [item for item in one.told if item.violation.contract == verdict.contract]
    lines = [line for item in told for line in (*told_lines(item, contract, one), "")]
    if len(told) < len(verdict.violations):
        lines += [headline(violation, one) for violation in verdict.violations[len(told) :][:100]]
    return "\n".join(lines)
