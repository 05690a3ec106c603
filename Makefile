# One command each on a fresh machine; every target is idempotent.
#   make demo       train a highway policy for about a minute, judge it against two baselines, write an HTML replay
#   make test       what CI runs: lint, types, import contracts and the fast tests
#   make test-all   the same and the slow tests
#   make coverage   branch coverage of statistics, journal, traces and loader, at least 90 %
#   make bench      simulator speed beside highway-env
# VENV=DIR puts the virtual environment elsewhere; PYTHON=python3.12 picks the interpreter (3.11 or newer).

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# --no-compile: modules are compiled when they are first imported, and most never are
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt
WORKERS ?= auto
DEMO_STEPS ?= 60k
# one thread a process: the tests run one process a core
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help demo test test-all coverage bench lint docs clean

help:
	@sed -n '2,7s/^# *//p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "closedloop needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

# A stamp a set of extras, so that each target installs what it needs once and again when the requirements change.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[$*]"
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

TESTED := $(VENV)/.installed-dev,commonroad,games,video,onnx,metrics,robots

demo: $(VENV)/.installed
	rm -rf runs/demo
	$(BIN)/closedloop train --scenario highway/easy --algo ppo --steps $(DEMO_STEPS) --set episodes=512 --set evaluations=4 --set validation_episodes=64 --out runs/demo
	$(BIN)/closedloop eval runs/demo idm random --scenario highway/easy --episodes 64 --traces 1 --out runs/demo/eval
	$(BIN)/closedloop play runs/demo/eval/traces/highway-easy-ppo/highway-easy-0.trace --out runs/demo/replay.html

docs: $(TESTED)
	PYTHONPATH=. $(BIN)/python docs/build.py

lint: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow and not gpu"

test-all: lint
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n $(WORKERS)

COVERING := $(addprefix tests/agents/test_,evaluation_report.py evaluation_stats.py gate_journal.py gate_plan.py gate_statistics.py gate_verdict.py gate_recipes.py gate_report.py \
	playback_beliefs.py playback_fingerprint.py playback_page.py playback_trace.py stress_statistics.py studies.py)

# of every file, branches alone
define BRANCHES
import json, sys
files = {name: file["summary"] for name, file in json.load(open(".coverage-branches.json"))["files"].items()}
low = {name: s for name, s in files.items() if s["covered_branches"] < 0.9 * s["num_branches"]}
sys.exit("\n".join(f"{name}: {s['covered_branches']} of {s['num_branches']} branches" for name, s in low.items()) or None)
endef
export BRANCHES

coverage: $(TESTED)
	$(ONE_THREAD) $(BIN)/python -m coverage run -m pytest -q -m "not slow and not gpu" $(COVERING) tests/scenarios
	$(BIN)/python -m coverage report --show-missing
	$(BIN)/python -m coverage json -q -o .coverage-branches.json
	@$(BIN)/python -c "$$BRANCHES"

bench: $(VENV)/.installed-bench
	$(BIN)/closedloop bench driving

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
