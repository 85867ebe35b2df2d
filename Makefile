# Every target sets up what it needs by itself, from nothing; a stamp file makes the second call quick.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
RUN := $(BIN)/.calque-installed
DEV := $(BIN)/.calque-dev-installed
INPUTS := pyproject.toml constraints.txt

.PHONY: demo test lint types docs clean

demo: $(RUN)
	$(BIN)/calque demo

test: $(DEV)
	$(BIN)/python -m pytest

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(DEV)
	$(BIN)/mypy

docs: $(DEV)
	$(BIN)/python docs/make_cli_docs.py

clean:
	rm -rf build dist calque.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(RUN): $(INPUTS) | $(BIN)/python
	$(BIN)/python -m pip install -c constraints.txt -e .
	touch $@

$(DEV): $(INPUTS) | $(BIN)/python
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev,train]'
	touch $@ $(RUN)
