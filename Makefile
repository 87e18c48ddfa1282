# Impact: every task a developer or an operator runs by hand. `make` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 9000
DATA ?= .impact
PYTEST_ARGS ?=

.PHONY: help run test check lint types fmt docs lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-8s %s\n", $$1, $$2}'

# A stamp per requirement file: an unchanged lock makes every later start immediate.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Impact needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing $(1) into $(VENV)"
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes -r $(1)
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(2)
endef

$(VENV)/.run: requirements.txt pyproject.toml
	$(call install,requirements.txt,$@)

$(VENV)/.dev: requirements-dev.txt pyproject.toml
	$(call install,requirements-dev.txt,$@)

run: $(VENV)/.run ## Start PostgreSQL, a replica, Redis and the server (PORT=9000 DATA=.impact)
	@IMPACT_PORT=$${IMPACT_PORT:-$(PORT)} IMPACT_DATA_DIR=$${IMPACT_DATA_DIR:-$(DATA)} exec $(BIN)/impact dev

test: $(VENV)/.dev ## Run all tests on real servers (PYTEST_ARGS=...)
	$(BIN)/pytest -n 2 --dist loadgroup $(PYTEST_ARGS)

lint: $(VENV)/.dev ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## Check types
	$(BIN)/mypy

check: lint types test ## Everything that CI runs

fmt: $(VENV)/.dev ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev ## Write the generated tables in docs/ anew
	$(BIN)/python tests/support/pages.py

# Universal: one lock for every Python and platform, with hashes and without addresses.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header pyproject.toml
lock: ## Pin the requirements anew (needs uv on PATH)
	$(LOCK) --extra stack --extra build --extra loadtest -o requirements.txt
	$(LOCK) --extra build -c requirements.txt -o deploy/requirements.txt
	$(LOCK) --extra stack --extra build --extra dev -c requirements.txt -o requirements-dev.txt

clean: ## Remove the environment and all local data
	rm -rf $(VENV) $(DATA)
