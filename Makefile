# Needs Python 3.11, pip and make; `make` alone lists the targets.

PYTHON ?= python3
GOLDEN ?=

BIN := .venv/bin
READY := .venv/.ready

.PHONY: help venv demo test test-all golden bench check format clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

venv: $(READY) ## make .venv with exactly the versions of constraints.txt

# The stamp goes before pip starts and comes back when it is done: a run that was cut short starts afresh.
$(READY): pyproject.toml constraints.txt
	test -e $@ || $(PYTHON) -m venv --clear .venv
	rm -f $@
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[service,dev]'
	touch $@

demo: $(READY) ## make a small data set, build it and verify it
	$(BIN)/python -m examples.make_demo
	$(BIN)/python -m flows build recipes/demo.toml
	$(BIN)/python -m flows verify build/demo

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check ## style, types, import rules and the fast tests
	$(BIN)/python -m pytest -m "not slow"

test-all: check ## the same, and the tests that start Ray, Prefect or a server
	$(BIN)/python -m pytest

golden: $(READY) ## compare the policies with reference vectors: make golden GOLDEN=folder
	$(BIN)/python -m tests.golden.compare $(GOLDEN)

bench: ## list the benchmarks
	@printf '$(BIN)/python -m benchmarks.%s\n' $(basename $(notdir $(wildcard benchmarks/[!_]*.py)))

format: $(READY) ## format, and repair what ruff can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the demo and the caches; .venv and other builds stay
	rm -rf build/demo data/demo dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
