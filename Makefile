# Everything a newcomer types. `make` alone lists the words.
# A fresh machine needs Python 3.11+ and make; all else goes into .venv, nothing outside this folder.

VENV := .venv
BIN := $(VENV)/bin
COMPILED := .venv-compiled
SOURCES := $(wildcard pointsman/*.py proxy/*.py proxy/cli/*.py policies/*.py adapters/*.py \
	adapters/simulated/*.py telemetry/*.py learning/*.py)
PIP_WORDS := python -m pip --disable-pip-version-check -qq --no-cache-dir --no-input
PIP := $(BIN)/$(PIP_WORDS)
LOCK_WORDS = --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate $(UPGRADE)
UV_COMPILE = $(UV) pip compile $(LOCK_WORDS) pyproject.toml requirements/build.in
CONFIG ?= config.yaml
JOBS ?= 2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check full lint demo bench bench-routing bench-learning flywheel flywheel-stub train-env compiled docs lock dev \
	conformance conformance-quick conformance-ready faults

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-18s%s\n", $$1, $$2}' Makefile

run: $(VENV)/.run-ready ## serve config.yaml on 127.0.0.1:8080 (admin on 8081)
	@exec $(BIN)/pointsman serve --config $(CONFIG)

# Two at once, then alone what holds moments to narrow limits. 5 is pytest's "nothing selected".
SUITE = $(BIN)/python -m pytest --quiet --ignore tests/conformance
test: $(VENV)/.dev-ready ## the test suite
	@$(SUITE) -n $(JOBS) --dist loadfile -m "not slow and not timed" $(PYTEST_ARGS) || [ $$? = 5 ]
	@$(SUITE) -m "timed and not slow" $(PYTEST_ARGS) || [ $$? = 5 ]

check: ## what must be green before a commit: tests, lint, types, import contract, docs
	@.ci/run

full: check ## check, then the slow tests, all of conformance, demo, benchmarks, flywheel
	@$(BIN)/python -m pytest --quiet -m slow --ignore tests/conformance
	@$(MAKE) --no-print-directory conformance demo bench bench-routing bench-learning flywheel

faults: $(VENV)/.dev-ready ## every fault of the laboratory; `make test` runs the quick ones
	@$(BIN)/python -m pytest --quiet tests/faults $(PYTEST_ARGS)

conformance: conformance-ready ## suites nobody here wrote, all of them (ten minutes)
	@$(BIN)/python -m pytest --quiet -n 2 tests/conformance $(PYTEST_ARGS)

conformance-quick: conformance-ready ## the part of them that `make check` runs
	@$(BIN)/python -m pytest --quiet -n 2 -m "not slow" tests/conformance $(PYTEST_ARGS)

conformance-ready: $(VENV)/.dev-ready
	@$(BIN)/python -m tests.conformance.environments

lint: $(VENV)/.dev-ready ## ruff, mypy and the import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

demo: $(VENV)/.demo-ready ## a real local model behind pointsman, asked a few dozen questions
	@$(BIN)/python -m learning.demo

bench: $(COMPILED)/.ready ## CPU and latency per request, beside nginx (six minutes)
	@$(BIN)/python -m benchmarks.proxy --pointsman $(COMPILED)/bin/pointsman --check $(BENCH_ARGS)
	@echo "The same, interpreted (what make run serves with):"
	@$(BIN)/python -m benchmarks.proxy --only closed --only stream-fast $(BENCH_ARGS)
	@$(BIN)/python -m benchmarks.fold
	@$(BIN)/python -m benchmarks.decision

bench-routing: $(VENV)/.dev-ready ## how well it decides, on measured outcomes (a few minutes)
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.routing $(BENCH_ARGS)

bench-learning: $(VENV)/.dev-ready ## a million rows exported and made a data set; 1,000 canaries (15 minutes)
	@$(BIN)/python -m benchmarks.learning $(BENCH_ARGS)
	@$(BIN)/python -m benchmarks.canaries

flywheel: .venv-train/.ready $(VENV)/.demo-ready ## an app's calls to a model of one's own, every step real
	@$(BIN)/python -m learning.flywheel $(FLYWHEEL_ARGS)

flywheel-stub: $(VENV)/.dev-ready ## the same in a minute: the trainer is a stub, and says so
	@$(BIN)/python -m learning.flywheel --stub $(FLYWHEEL_ARGS)

train-env: .venv-train/.ready ## the environment that trains (1.5 GB; torch for the CPU)

compiled: $(COMPILED)/.ready ## an environment with the request path compiled (needs a C compiler)

docs: $(VENV)/.dev-ready ## write docs/cli.md from the commands' own help, then check all papers
	@$(BIN)/python -m tests.support.cli_pages > docs/cli.md.new
	@mv docs/cli.md.new docs/cli.md
	@$(BIN)/python -m pytest -q tests/test_docs.py

lock: $(VENV)/.uv-ready ## pin all dependencies anew (UPGRADE=--upgrade for newer versions)
	@$(UV_COMPILE) --output-file requirements/run.txt >/dev/null
	@$(UV_COMPILE) --extra dev --extra fit --constraint requirements/run.txt \
		--output-file requirements/dev.txt >/dev/null
	@$(UV_COMPILE) --extra local requirements/demo.in --constraint requirements/dev.txt \
		--output-file requirements/demo.txt >/dev/null
	@for name in openai anthropic langchain schemathesis node fuzz readers; do \
		$(UV) pip compile $(LOCK_WORDS) --python-version 3.11 requirements/conformance-$$name.in \
			--output-file requirements/conformance-$$name.txt >/dev/null; done
	@wc -l requirements/*.txt

dev: $(VENV)/.dev-ready ## set up .venv with the tools, for an editor

# -- the environment: one stamp for each level, made again when its lock changes ---------------

$(VENV)/.run-ready: requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "Installing what pointsman runs on (pinned, checked by hash) ..."
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev-ready: requirements/dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing pointsman and the tools that test it (pinned, checked by hash) ..."
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $(VENV)/.run-ready $@

$(VENV)/.demo-ready: requirements/demo.txt $(VENV)/.run-ready
	@echo "Installing the local model server and the official client (pinned, checked by hash) ..."
	@$(PIP) install --require-hashes -r requirements/demo.txt
	@touch $@

# mypyc compiles the request path into a wheel, never into the source tree (see hatch_build.py).
$(COMPILED)/.ready: $(SOURCES) hatch_build.py pyproject.toml requirements/run.txt \
		| $(VENV)/.dev-ready
	@echo "Compiling the request path (half a minute) ..."
	@test -x $(COMPILED)/bin/python || requirements/make-venv "$(COMPILED)" "$(PYTHON)"
	@$(COMPILED)/bin/$(PIP_WORDS) install --require-hashes -r requirements/run.txt
	@rm -rf $(COMPILED)/wheel
	@POINTSMAN_COMPILE=1 $(PIP) wheel --no-deps --no-build-isolation -w $(COMPILED)/wheel .
	@$(COMPILED)/bin/$(PIP_WORDS) install --no-deps --force-reinstall $(COMPILED)/wheel/*.whl
	@touch $@

# torch first and by its exact version: as a dependency it would come as a CUDA build of 5 GB.
TORCH ?= torch==2.13.0
.venv-train/.ready: requirements/train.txt
	@test -x .venv-train/bin/python || requirements/make-venv .venv-train "$(PYTHON)"
	@.venv-train/bin/$(PIP_WORDS) install $(TORCH)
	@.venv-train/bin/python -c 'import torch; exit(torch.version.cuda and "torch is a CUDA build; make TORCH=... train-env, or TORCH_CUDA=yes if that is meant" if not "$(TORCH_CUDA)" else 0)'
	@.venv-train/bin/$(PIP_WORDS) install --no-deps --require-hashes -r requirements/train.txt
	@touch $@

# The locks are made with uv: the one on the path, or else one in an environment of its own.
UV := $(or $(shell command -v uv 2>/dev/null),$(VENV)/uv/bin/uv)
$(VENV)/.uv-ready: | $(BIN)/python
	@test -x "$(UV)" || { $(BIN)/python -m venv $(VENV)/uv && \
		$(VENV)/uv/bin/python -m pip -qq --no-cache-dir install uv; }
	@touch $@

# `python3` where it is new enough, else a newer one by name; PYTHON=... decides otherwise.
$(BIN)/python:
	@requirements/make-venv "$(VENV)" "$(PYTHON)"
