# Two commands do everything on a fresh machine with Python 3.11 or newer: `make run` and `make test`.
PYTHON ?= python3
STUDY ?= demo
PORT ?= 8501
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# The compiled modules are kept even where the environment says otherwise: the tests start dozens of
# processes, each of which would compile the program again.
export PYTHONDONTWRITEBYTECODE =

.PHONY: run test all-tests bench mutants lint compiled-tests pictures
.DELETE_ON_ERROR:

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "DeepMiner needs Python 3.11 or newer; name one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv (a few minutes the first time) ..."
	@.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	@touch $@

# Build the demonstration study once, then serve it and print the sign-in link.
run: .venv/installed
	@test -f $(STUDY)/study.toml || echo "Building the demonstration study in $(STUDY) (about three minutes) ..."
	@.venv/bin/deepminer demo $(STUDY)
	@.venv/bin/deepminer serve --study $(STUDY) --port $(PORT)

# The tests run in a random order, which is another one for each commit and the same for all who test
# that commit; without git it is another one for each run. `make test SEED=7` chooses one.
SEED ?= $(shell commit=$$(git rev-parse HEAD 2>/dev/null) && printf %d 0x$$(printf %.7s $$commit) || echo default)

# Linters and all tests, browser tests included, side by side.
test: .venv/installed
	@.venv/bin/python tests/support/install_browser.py
	@$(MAKE) --no-print-directory --jobs 2 lint all-tests

# Three processes keep two cores busy, because some of them wait for a browser or a server; the tests
# of a file run in one.
all-tests: compiled-tests
	@.venv/bin/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --randomly-seed=$(SEED)

# Speed as ratios against reference implementations, measured in the same run.
bench: .venv/installed
	@.venv/bin/python -m benchmarks

# How many small mistakes in the program the tests notice; a later run continues an earlier one.
mutants: .venv/installed
	@.venv/bin/python -m benchmarks.mutation

# Rewriting the assertions takes 15 s: once, instead of in each test process.
compiled-tests: .venv/installed
	@.venv/bin/python -m pytest --collect-only --quiet >.venv/collection.txt || { tail -40 .venv/collection.txt; exit 1; }

# Formatter, linter, types and import contracts.
lint: .venv/installed
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy
	@.venv/bin/lint-imports >.venv/import-contracts.txt || { cat .venv/import-contracts.txt; exit 1; }

# Pictures of the README and docs, taken from the running demonstration.
pictures: .venv/installed
	@.venv/bin/python docs/scripts/take_screenshots.py
