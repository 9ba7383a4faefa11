# make bench | bench-pruning | test | check | clean: each sets up .venv when it is missing or out of date.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready

.PHONY: bench bench-pruning test check format clean

bench: $(READY)
	$(BIN)/pytest benchmarks -k ratio_0.5

bench-pruning: $(READY)
	$(BIN)/python -m benchmarks.pruning_speed

test: $(READY)
	$(BIN)/pytest tests

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .glu-prune results .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)
