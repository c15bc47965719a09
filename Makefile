# Crisis referral gateway. `make` alone says what there is; docs/operator.md says more.
# Needs Python 3.11 or newer with venv and pip, and make. Everything else comes from the hash-locked requirements.

VENV ?= .venv
PYTHON ?= python3
ARGS ?=
BIN := $(VENV)/bin
UV_VERSION := 0.13.9

LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo test test-peers bench faults lint format serve lock clean
.DELETE_ON_ERROR:

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(VENV)/.installed ## build .venv from requirements.lock

install-dev: $(VENV)/.installed-dev ## the same with the tools of lint and test-peers

demo: install ## tell the story in the terminal, then stay (ARGS="--once --save DIR")
	$(BIN)/python -m gateway demo $(ARGS)

test: install ## the tests; needs Python and SQLite only (ARGS="-k word")
	$(BIN)/python -m pytest -n auto -m "not peers" $(ARGS)

test-peers: install-dev ## tests with PostgreSQL, HL7's validator and other people's clients
	$(BIN)/python -m pytest -m peers -ra --durations=5 tests/peers $(ARGS)

bench: install ## how fast it is, on SQLite and PostgreSQL (ARGS="--seconds 2 --clients 1"); docs/performance.md
	$(BIN)/python -m bench $(ARGS)

faults: install ## kill, stop and starve real processes, check what peers were told (ARGS="--short --seed 7"); docs/faults.md
	$(BIN)/python -m tests.faults $(ARGS)

lint: install-dev ## format, rules, types, imports (and that a planted wrong import is found)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/rules/test_one_door.py

format: install-dev ## put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

serve: install ## gateway and worker on this machine (settings: docs/operator.md)
	$(BIN)/python -m gateway db upgrade
	$(BIN)/python -m gateway serve --with-worker $(ARGS)

lock: ## renew requirements*.lock (ARGS=--upgrade for newer versions)
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet uv==$(UV_VERSION)
	printf 'setuptools>=77\n' | build/lock/bin/$(LOCK) $(ARGS) pyproject.toml - --extra test -o requirements.lock
	printf 'setuptools>=77\n' | build/lock/bin/$(LOCK) $(ARGS) pyproject.toml - --all-extras -c requirements.lock -o requirements-dev.lock

clean: ## remove .venv, build products and caches; no database, no keys
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The build backend is in the lock as well, so that nothing unhashed is fetched and built with.
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --quiet
PROJECT = $(INSTALL) --no-deps --no-build-isolation --no-index --editable .

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) lacks venv or pip (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }

$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	$(INSTALL) --require-hashes -r requirements.lock
	$(PROJECT)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@
