# demo, test, lint, docs and e2e each set up .venv first, when it is missing or older than pyproject.toml or constraints.txt.
# Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint docs e2e oldest

demo: $(READY)
	$(BIN)/magvit demo --output outputs/demo

test: $(READY)
	$(BIN)/python -m pytest --ignore=tests/e2e --ignore=tests/distributed

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)
	@$(BIN)/python -c "import furo, myst_parser" 2>/dev/null \
		|| $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e ".[docs]" \
		|| { echo "Sphinx cannot be had here: no site was made" >&2; exit 0; }; \
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html docs build/docs

e2e: $(READY)
	$(BIN)/python -m pytest tests/e2e tests/distributed -q

# The suite with the oldest versions that pyproject.toml allows. They call what newer packages deprecate; PyTorch leaves files open.
oldest:
	$(PYTHON) -m venv --clear build/oldest
	build/oldest/bin/python -m pip install --disable-pip-version-check -q uv
	build/oldest/bin/uv pip install --python build/oldest --resolution lowest-direct -e ".[dev]"
	build/oldest/bin/python -m pytest -W ignore::DeprecationWarning -W ignore::ResourceWarning \
		--ignore=tests/e2e --ignore=tests/distributed

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "magvit needs Python 3.11 or newer; '$(PYTHON)' is not. Name another one: make PYTHON=python3.12 demo" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
