"""The three vulnerability classes on the five order desks, and the model of propagation fitted to them.

    python benchmarks/study_cascade.py [PLAN] [--out FOLDER] [--resume]

Writes benchmarks/results/study_cascade.{json,md,svg} unless --results names another folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import msgspec

from masfire.campaign.attack import load_attack
from masfire.campaign.cascades import CLEAN, Attacked, AttackRuns
from masfire.campaign.spreading import Finding, finding
from masfire.genealogy.calibration import fit_runs
from masfire.genealogy.cascade import mean_curve, padded
from masfire.genealogy.dynamics import Topology, coverage
from masfire.genealogy.observed import correlation, fidelity, observed_topology
from masfire.genealogy.synergy import advise
from masfire.reporting.curves import Curve, panels_svg
from masfire.reporting.spreading import finding_lines
from masfire.trace.io import read_trace

HERE = Path(__file__).parent
FITTED = ("star", "linear", "mesh")
MEASUREMENTS = ("amplification", "sensitivity", "inertia")


def fits(runs: list[Attacked], folder: Path) -> tuple[list[dict], dict[str, list[Curve]]]:
    """Fit β and δ on raw attacks (by turn), and see how well that predicts the packaged ones."""
    rows: list[dict] = []
    curves: dict[str, list[Curve]] = {}
    for model in dict.fromkeys(each.attack.model for each in runs):
        for system in FITTED:
            row, drawn = _fit(runs, folder, system, model)
            rows.append(row)
            curves.setdefault(system, []).extend(drawn)
    return rows, curves


def _fit(runs: list[Attacked], folder: Path, system: str, model: str) -> tuple[dict, list[Curve]]:
    own = [each for each in runs if (each.attack.system, each.attack.model) == (system, model)]
    clean = [
        read_trace(folder / "traces" / f"{each.attack.id}.jsonl").blind()
        for each in own
        if each.attack.placement == CLEAN
    ]
    gamma, slots = fidelity(clean)
    rho = correlation(clean)
    row = {"system": system, "model": model, "fidelity": gamma, "slots": slots, "correlation": rho}
    if gamma is not None and rho is not None:
        row["advice"] = advise(3, correlation=max(0.0, rho), fidelity=gamma).sentence
    held = [e for e in own if e.valid and e.cascade and e.agent in e.cascade.reached]
    raw = [e for e in held if e.attack.packaging == "raw"]
    if len(raw) < 3:
        return {**row, "why": f"only {len(raw)} runs in which the attacked agent took the claim over"}, []
    agents = max((e.cascade.agents for e in raw if e.cascade), key=len)
    seen = observed_topology(clean)
    place = {seen.names.index(a): n for n, a in enumerate(agents) if a in seen.names}
    topology = Topology(
        agents, tuple((place[a], place[b]) for a, b in seen.edges if a in place and b in place)
    )
    seeds = [agents.index(raw[0].agent)]
    whole = mean_curve([e.cascade.curve for e in raw if e.cascade])
    length = max(
        4, whole.index(max(whole)) + 1
    )  # while it spreads: a system that starts over is no model of δ
    fit = fit_runs([padded(e.cascade.curve, length) for e in raw if e.cascade], topology, seeds=seeds)
    predicted = coverage(topology, fit.beta.value, fit.delta.value, seeds=seeds, rounds=length - 1)
    row |= {"beta": msgspec.to_builtins(fit.beta), "delta": msgspec.to_builtins(fit.delta), "mse": fit.mse,
            "runs": len(raw), "sentence": fit.sentence}  # fmt: skip
    for packaging in ("compliance", "security_fud"):
        other = [
            padded(e.cascade.curve, length) for e in held if e.attack.packaging == packaging and e.cascade
        ]
        if other:
            observed = mean_curve(other)
            errors = [(p - o) ** 2 for p, o in zip(predicted[1:], observed[1:], strict=True)]
            row[f"mse_{packaging}"] = sum(errors) / len(errors)
    return row, [
        Curve(f"observed with the {model}", tuple(fit.observed)),
        Curve(f"fitted to the {model}", tuple(predicted), beside=True),
    ]


def markdown(plan: str, found: list[Finding], rows: list[dict]) -> str:
    """Return the report: every finding's table and sentences, then the fits."""
    parts = ["# How a false claim spreads through the five order desks", ""]
    parts.append(f"Plan: `{plan}`.")
    parts.append("`stub` rows are answered by a perfect copier: they show the systems' code, not the model.")
    for each in found:
        parts += ["", f"## {each.measurement}", "", "```", *finding_lines(each), "```"]
    parts += [
        "",
        "## The propagation model",
        "",
        "Fitted on raw attacks whose target took the claim over, up to the highest mean coverage.",
        "",
    ]
    parts.append("| system | model | runs | β | δ | MSE | MSE compliance | MSE security FUD | γ | ρ |")
    parts.append("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        errors = [_number(row.get(name)) for name in ("mse", "mse_compliance", "mse_security_fud")]
        rates = [_value(row, "beta"), _value(row, "delta")]
        runs = row.get("runs", row.get("why", ""))
        measured = [_number(row["fidelity"]), _number(row["correlation"])]
        cells = [row["system"], row["model"], runs, *rates, *errors, *measured]
        parts.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    parts += [
        "",
        *(f"* {row['system']} ({row['model']}): {row['sentence']}" for row in rows if "sentence" in row),
    ]
    return "\n".join([*parts, ""])


def _value(row: dict, name: str) -> str:
    found = row.get(name)
    return f"{found['value']:.3f} ({found['low']:.2f} to {found['high']:.2f})" if found else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def main() -> None:
    """Run what is missing and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", nargs="?", default=str(HERE.parent / "examples/cascade/desk.yaml"))
    parser.add_argument("--out", default=".masfire/cascade")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--results", default=str(HERE / "results"))
    told = parser.parse_args()
    results = Path(told.results)

    def watch(phase: str, done: int, total: int) -> None:
        if done % 25 == 0:
            print(f"{phase}: {done} of {total}", flush=True)

    suite = AttackRuns(load_attack(told.plan), told.out, resume=told.resume, watch=watch)
    runs = {name: suite.run(name) for name in MEASUREMENTS}  # type: ignore[arg-type]
    found = [finding(name, runs[name]) for name in MEASUREMENTS]  # type: ignore[arg-type]
    rows, curves = fits(runs["amplification"], Path(told.out))
    name = Path(told.plan).name
    results.mkdir(parents=True, exist_ok=True)
    content = {"plan": name, "findings": msgspec.to_builtins(found), "fits": rows}
    (results / "study_cascade.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (results / "study_cascade.md").write_text(markdown(name, found, rows), encoding="utf-8")
    figure = panels_svg(
        curves,
        title="Coverage: observed, and by the fitted model",
        x="turn",
        note="up: agents that hold it; stub: a perfect copier; lines that coincide are told as one (=)",
    )
    (results / "study_cascade.svg").write_text(figure, encoding="utf-8")
    print(markdown(name, found, rows))


if __name__ == "__main__":
    main()
