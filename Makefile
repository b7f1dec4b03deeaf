# make setup   .venv with the pinned dependencies (needs only Python 3.11 or newer)
# make serve   the endpoint on http://127.0.0.1:8000 with the models that ship
# make test    the whole suite
# make soak    the long tests: fuzzing, overload, crashes
# make check   formatting, lint and types
# make audit   known vulnerabilities and licences of the dependencies
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

.PHONY: setup serve test soak check audit clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "isogloss needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "==> creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@echo "==> installing the pinned dependencies (some minutes, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,detect,pocket]'
	@touch $@
	@echo "==> ready: $(BIN)/isogloss --help"

serve: setup
	@echo "==> starting the endpoint"
	@$(BIN)/isogloss serve $(ARGS)

test: setup check
	@echo "==> running the tests"
	@$(BIN)/python -m pytest -m 'not soak' $(ARGS)

soak: setup
	@echo "==> running the long tests"
	@$(BIN)/python -m pytest -m soak -n 0 --timeout 7200 $(ARGS)

check: setup
	@echo "==> checking format, lint and types"
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --num-workers 2

audit: setup
	@echo "==> auditing the dependencies"
	@$(BIN)/python -m deploy.audit

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
