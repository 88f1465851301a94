# Every target is what CI and a person run; each creates .venv from the hashed lock when it is missing or stale.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export DVC_NO_ANALYTICS := 1
# Without compiled bytecode every start of DVC compiles 760 modules again: 6 s instead of 3.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv from requirements.lock (other targets do it by themselves)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 13) or sys.exit(f"error: $(PYTHON) is Python {v[0]}.{v[1]}; 3.11 or 3.12 is needed: make PYTHON=python3.11 ...")'
	@echo "setting up .venv (about a minute)"
	@$(PYTHON) -m venv --clear .venv
	@awk '/^uv==/{p=1} p{print} p&&!/\\$$/{exit}' requirements.lock > .venv/uv.txt
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r .venv/uv.txt
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install -q --require-hashes -r requirements.lock \
	  || $(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install -q --no-deps --no-build-isolation -e .
	@touch $(READY)

repro: $(READY) ## rebuild whatever is out of date (dvc repro)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro

deploy-artifacts: repro ## both verified bundles in models/<task>/deploy
	@for bundle in models/*/deploy; do $(BIN)/python $$bundle/verify.py || exit 1; done

test: $(READY) ## fast tests, every stage on a handful of samples
	@$(BIN)/python -m pytest -q -n 2

test-full: $(READY) ## everything, the real pipeline included
	@$(BIN)/python -m pytest -q -n 2 -m "full or not full"

check: $(READY) ## format, lint, types, lock
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && sh .ci/check-lock

bench-convert: $(READY) ## time export, file, import and runs beside spyx.nir
	@$(BIN)/python -m bench.convert --json bench/convert.json

fuzz: $(READY) ## ten minutes of damaged files and graphs
	@$(BIN)/python -m bench.fuzz --seconds 600

lock: $(READY) ## pin the dependencies of pyproject.toml into requirements.lock
	@sh .ci/lock requirements.lock

.PHONY: help setup repro deploy-artifacts test test-full check bench-convert fuzz lock
