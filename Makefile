# make setup   .venv with everything, at pinned versions (needs only Python 3.11 or newer)
# make serve   the endpoint on http://127.0.0.1:8000 with the models that ship, and only what it needs
# make test    the whole suite
# make gpu     all that wants a GPU, in ten minutes; without installing anything. ARGS=--rehearse
#              runs it on the processor
# make soak    the long tests: fuzzing, overload, crashes
# make check   formatting, lint and types
# make docs    the documentation as a site, in build/docs/site
# make wheel   the sdist and the wheel in dist/, tried in a fresh environment; BESIDE=langchain
#              installs other packages beside it
# make clients other systems' clients, and a browser if there is one, against a server of ours
# make audit   known vulnerabilities and licences of the dependencies
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ALL := $(VENV)/.ready
SERVER := $(VENV)/.ready-to-serve
SITE := $(VENV)/.ready-for-docs
CLIENTS := build/clients
# An environment of a gigabyte; make clients LABEL_STUDIO= leaves it out.
LABEL_STUDIO ?= build/label-studio
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
ARGS ?=

.PHONY: setup serve test soak gpu check docs audit wheel clients clean

setup: $(ALL)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "isogloss needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "==> creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(ALL): pyproject.toml constraints.txt | $(BIN)/python
	@echo "==> installing the pinned dependencies (some minutes, once)"
	@$(INSTALL) -e '.[dev]'
	@touch $(SERVER) $@
	@echo "==> ready: $(BIN)/isogloss --help"

$(SERVER): pyproject.toml constraints.txt | $(BIN)/python
	@echo "==> installing what a server needs (a minute or two, once)"
	@$(INSTALL) -e '.[serve]'
	@touch $@

$(SITE): $(ALL)
	@echo "==> installing what builds the documentation"
	@$(INSTALL) -e '.[docs]'
	@touch $@

# Ours comes along without the server: its integrations are steps of their pipelines.
$(CLIENTS)/.ready: tests/clients/requirements.txt pyproject.toml
	@echo "==> installing other systems' clients (a minute or two, once)"
	@$(PYTHON) -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check -r $< -e .
	@touch $@

# Apart, for it wants older versions of what some of the clients are.
build/label-studio/.ready: tests/clients/label_studio.txt
	@echo "==> installing Label Studio (a minute or two, once)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

serve: $(SERVER)
	@echo "==> starting the endpoint"
	@$(BIN)/isogloss serve $(ARGS)

test: setup check
	@echo "==> running the tests"
	@$(BIN)/python -m pytest -m 'not soak' $(ARGS)

soak: setup
	@echo "==> running the long tests"
	@$(BIN)/python -m pytest -m soak -n 0 --timeout 7200 $(ARGS)

# With whatever Python has torch: a machine with a GPU may reach no registry.
gpu:
	@PYTHONPATH=src $(if $(wildcard $(BIN)/isogloss),$(BIN)/python,$(PYTHON)) -m isogloss.deploy.bench.gpu_day $(ARGS)

check: setup
	@echo "==> checking format, lint and types"
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

docs: $(SITE)
	@echo "==> building the documentation"
	@$(BIN)/python -m docs.generate build/docs
	@$(BIN)/zensical build --strict --clean -f build/docs/zensical.toml
	@echo "==> build/docs/site/index.html"

clients: setup $(CLIENTS)/.ready $(LABEL_STUDIO:=/.ready)
	@echo "==> running other systems' clients"
	@$(BIN)/python -m tests.clients.run $(CLIENTS)/bin/python $(LABEL_STUDIO:=/bin/python)

audit: setup
	@echo "==> auditing the dependencies"
	@$(BIN)/python -m piplicenses --summary
	@.ci/audit

wheel: setup
	@$(BIN)/python -m tests.wheel $(BESIDE)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist src/*.egg-info
