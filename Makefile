# Everything runs in .venv, which the first target that needs it makes. PYTHON may be any from 3.11 on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The build backend looks for its program there.
export PATH := $(abspath $(BIN)):$(PATH)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint format bench mutate simulate crash-kill crash-power crash-faults interop lock clean

demo: $(VENV)/run.stamp
	$(BIN)/keystead demo

test: $(VENV)/dev.stamp
	tests/install_tools.sh
	$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest -n auto -m "not timed" --cov --cov-report=
	$(BIN)/python -m pytest -m timed
	$(BIN)/python -m coverage report --fail-under=90 --skip-covered
	$(BIN)/python -m coverage report --fail-under=100 --skip-covered \
	  --include='*/keystead/cesr/*,*/keystead/keri/*,*/keystead/custody/*,*/keystead/suites.py'

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/dev.stamp
	$(BIN)/python bench/run.py

mutate: N ?= 100000
mutate: $(VENV)/dev.stamp
	$(BIN)/python -m keystead.testing.mutate --count $(N)

simulate: N ?= 2000
simulate: $(VENV)/dev.stamp
	$(BIN)/python -m keystead.testing.simulation --seeds $(N)

# WORKLOAD: wallet or witness.
crash-kill crash-power crash-faults: WORKLOAD ?= wallet
crash-kill crash-power: N ?= 10000
crash-kill: $(VENV)/dev.stamp
	$(BIN)/python -m keystead.testing.crash kill --workload $(WORKLOAD) --count $(N)

# The next two need strace (apt-get install strace).
crash-power: $(VENV)/dev.stamp
	$(BIN)/python -m keystead.testing.crash power --workload $(WORKLOAD) --count $(N)

crash-faults: EVERY ?= 1
crash-faults: $(VENV)/dev.stamp
	$(BIN)/python -m keystead.testing.crash faults --workload $(WORKLOAD) --every $(EVERY)

# Where there is no Python from 3.12.6 on, this fails; `make test` then leaves these tests out.
interop: $(VENV)/dev.stamp
	tests/install_tools.sh
	KEYSTEAD_INTEROP=required $(BIN)/python -m pytest -n auto -m interop tests/interop

# Pins the versions of today with their hashes, for every platform.
lock: $(VENV)/dev.stamp
	$(BIN)/uv pip compile -q --upgrade $(LOCK) -o requirements/run.txt requirements/build.in pyproject.toml --extra server
	$(BIN)/uv pip compile -q --upgrade $(LOCK) -o requirements/dev.txt requirements/build.in pyproject.toml --group dev
	$(BIN)/uv pip compile -q --upgrade --universal --python $(INTEROP_PYTHON) --python-version 3.12.6 --generate-hashes \
	  --no-emit-index-url --no-annotate --custom-compile-command 'make lock' -o requirements/interop.txt requirements/interop.in

# The peer's packages are built to read what they need, so a Python that runs them must be there.
INTEROP_PYTHON ?= python3.13
LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command 'make lock'

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements/run.txt
	$(PIP) install --no-build-isolation --no-deps -e .
	touch $@

$(VENV)/dev.stamp: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements/dev.txt
	$(PIP) install --no-build-isolation --no-deps -e .
	touch $@ $(VENV)/run.stamp
