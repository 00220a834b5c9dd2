# One environment folder, made here with the machine's Python 3.11 or newer; everything is pinned by hash in requirements.lock.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
STORE ?=
WORKERS ?= 3
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# The tests start hundreds of processes, each of which would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test test-slow check format bench docs conformance lock clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is needed; with another name: make PYTHON=python3" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making the environment in $(VENV) ..." >&2; $(PYTHON) -m venv $(VENV); }
	@echo "Installing what requirements.lock pins (a minute, the first time) ..." >&2
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

run: $(READY) ## a server on SQLite that runs the order example live (ARGS=--once ends after it)
	@$(BIN)/python scripts/run_example.py $(if $(STORE),--store '$(STORE)') $(ARGS)

test: $(READY) ## the whole suite (ARGS="-k name" for a part)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(READY) ## long campaigns
	@$(BIN)/python -m pytest -m slow --hypothesis-profile=search $(ARGS)

check: $(READY) ## lint, types, floors, sizes, public surface, documentation
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest -q tests/house tests/docs

format: $(READY) ## put the code in shape
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(READY) ## W1 over HTTP and W3, beside the ceiling and DBOS where those are (ARGS=--smoke for the quick look)
	@$(BIN)/python bench/run.py $(ARGS)

docs: $(READY) ## the documentation as a site in .flowrunner/site, reference pages written from the code's own tables
	@$(BIN)/python scripts/write_reference.py
	@$(BIN)/mkdocs build --quiet --strict

conformance: $(READY) ## score a server on AWS's recorded answers, where that data is (FLOWRUNNER_CONFORMANCE, or beside the checkout)
	@$(BIN)/python scripts/conformance.py $(ARGS)

lock: $(READY) ## pin the dependencies anew
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --quiet --output-file requirements.lock

clean: ## remove the environment and everything that was made
	@rm -rf $(VENV) .flowrunner .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
