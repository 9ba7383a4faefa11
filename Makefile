# make bench | baseline | bench-pruning | bench-sweep | bench-shapes | profile | test | test-all | test-versions | check | docs | dist | clean:
# each sets up .venv when it is missing or out of date.
PYTHON ?= python3.11
# Where this is set, each of hundreds of processes would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin
READY := .venv/.ready

.PHONY: bench baseline bench-pruning bench-sweep bench-shapes profile test test-all test-versions check docs dist format clean

# Half of the neurons of the embedded models: what the claims say, and whether any arm does worse than what is pinned.
bench: $(READY)
	$(BIN)/pytest benchmarks -k ratio_0.5 --glu-compare embedded --junitxml results/junit.xml

# Pins what `make bench` compares with, for changes that are meant to move scores.
baseline: $(READY)
	$(BIN)/pytest benchmarks -k "ratio_0.5 and test_direction" --glu-save-baseline embedded

bench-pruning: $(READY)
	$(BIN)/python -m perf.pruning_speed

# Four ratios of a small trained model on a part of the study's items, against OptiPFair and lm-eval in the usual loop.
SWEEP ?=
bench-sweep: $(READY)
	$(BIN)/glu-prune fetch smollm2-135m-instruct
	$(BIN)/python -m perf.sweep_speed $(SWEEP)

# Where the time of an embedded run goes, and of a sweep over a larger model.
profile: $(READY)
	$(BIN)/python -m perf.profiling

# What models of the study's shapes cost, random weights, all ratios in turns: hours on a GPU, days without one.
SHAPES ?= llama-3.2-1b llama-3.2-3b
DEVICE ?= cuda
DTYPE ?= bfloat16
RATIOS ?= 0.1 0.2 0.3 0.4 0.5 0.6
MEASURE ?= --suite study
bench-shapes: $(READY)
	mkdir -p .shapes
	for shape in $(SHAPES); do \
	  test -d .shapes/$$shape-$(DTYPE) || $(BIN)/glu-prune shape $$shape --dtype $(DTYPE) --out .shapes/$$shape-$(DTYPE) || exit 1; \
	  $(BIN)/glu-prune measure .shapes/$$shape-$(DTYPE) --ratio $(RATIOS) --device $(DEVICE) --dtype $(DTYPE) $(MEASURE) \
	    --store .glu-prune --out results/$$shape-$(DTYPE) || exit 1; \
	done

# As many tests at a time as there are workers, with one thread each: most tests have work for one. Those of a module
# stay together, as they share what they set up.
WORKERS ?= 2
TESTS = OMP_NUM_THREADS=1 $(BIN)/pytest tests -n $(WORKERS) --dist loadscope

# Minutes, after every change: all but the tests that are marked as slow, with a quarter of the examples.
test: $(READY)
	$(TESTS) -m "not slow" --durations=10

# Everything; how long each test took is kept.
test-all: $(READY)
	$(TESTS) --durations=25 --junitxml results/tests.xml

# The fast tests on another Python, with the newest or the oldest versions that pyproject.toml allows; needs uv.
RESOLUTION ?= highest
test-versions:
	uv venv --quiet --clear --seed --python $(PYTHON) build/versions
	uv pip install --quiet --python build/versions/bin/python --resolution $(RESOLUTION) -e '.[dev]'
	OMP_NUM_THREADS=1 build/versions/bin/pytest tests -n $(WORKERS) --dist loadscope -m "not slow"

# The documentation, to site/index.html; fails on a broken link.
docs: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python -m tools.site

# What is released, to dist/: built, checked, and tried as a user would, in an environment and a folder that are empty.
FRESH = build/fresh
dist: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[release]'
	rm -rf dist $(FRESH)
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(PYTHON) -m venv $(FRESH)/venv
	$(FRESH)/venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(FRESH)/venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt "$$(ls $$PWD/dist/*.whl)[report]"
	mkdir $(FRESH)/project
	cd $(FRESH)/project && PATH=$$PWD/../venv/bin:$$PATH && glu-prune init && glu-prune lint && \
	  pytest benchmarks -k ratio_0.5 --glu-report report.html && glu-prune comment results > comment.md

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/zizmor --offline --pedantic --quiet .github action.yml comment

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .glu-prune .shapes results site .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)
