# Everything a newcomer types. `make` alone lists the words.
# A fresh machine needs Python 3.11+ and make; all else goes into .venv, nothing outside this folder.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq --no-cache-dir --no-input
UV_COMPILE = $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	--no-header --no-annotate $(UPGRADE) pyproject.toml requirements/build.in
CONFIG ?= config.yaml

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check full lint demo bench docs lock dev

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

run: $(VENV)/.run-ready ## serve config.yaml on 127.0.0.1:8080 (admin on 8081)
	@exec $(BIN)/pointsman serve --config $(CONFIG)

test: $(VENV)/.dev-ready ## the test suite
	@$(BIN)/python -m pytest --quiet -m "not slow" $(PYTEST_ARGS)

check: ## what must be green before a commit: tests, lint, types, import contract, docs
	@.ci/run

full: check ## check, then the slow tests, the demo and the benchmark
	@$(BIN)/python -m pytest --quiet -m slow
	@$(MAKE) --no-print-directory demo bench

lint: $(VENV)/.dev-ready ## ruff, mypy and the import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

demo: $(VENV)/.demo-ready ## a real local model behind pointsman, asked a few dozen questions
	@$(BIN)/python -m learning.demo

bench: $(VENV)/.dev-ready ## CPU and latency per request, beside nginx (four minutes)
	@$(BIN)/python -m benchmarks.proxy $(BENCH_ARGS)
	@$(BIN)/python -m benchmarks.fold

docs: $(VENV)/.dev-ready ## write docs/cli.md from the commands' own help, then check all papers
	@$(BIN)/python -m tests.support.cli_pages > docs/cli.md.new
	@mv docs/cli.md.new docs/cli.md
	@$(BIN)/python -m pytest -q tests/test_docs.py

lock: $(VENV)/.uv-ready ## pin all dependencies anew (UPGRADE=--upgrade for newer versions)
	@$(UV_COMPILE) --output-file requirements/run.txt >/dev/null
	@$(UV_COMPILE) --extra dev --constraint requirements/run.txt \
		--output-file requirements/dev.txt >/dev/null
	@$(UV_COMPILE) --extra local requirements/demo.in --constraint requirements/dev.txt \
		--output-file requirements/demo.txt >/dev/null
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

# The locks are made with uv: the one on the path, or else one in an environment of its own.
UV := $(or $(shell command -v uv 2>/dev/null),$(VENV)/uv/bin/uv)
$(VENV)/.uv-ready: | $(BIN)/python
	@test -x "$(UV)" || { $(BIN)/python -m venv $(VENV)/uv && \
		$(VENV)/uv/bin/python -m pip -qq --no-cache-dir install uv; }
	@touch $@

# `python3` where it is new enough, else a newer one by name; PYTHON=... decides otherwise.
$(BIN)/python:
	@requirements/make-venv "$(VENV)" "$(PYTHON)"
