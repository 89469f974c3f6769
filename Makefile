# Every target makes its own .venv on first use and is quick afterwards.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
STARS ?= chemsbi_jax/pretrained/stars/example_galaxy.ecsv
OUT ?= runs/infer
PYTEST_FLAGS ?= -n auto --dist loadfile

.PHONY: infer test test-thorough test-slow lint docs reproduce benchmark clean

infer: $(READY)
	$(BIN)/python experiments/infer.py $(STARS) --out $(OUT)

# Three disjoint selections: together they are all tests. Most of the time goes into
# compilation: with fewer optimisations it is far shorter. The slow tests compile as
# users do.
test test-thorough: export XLA_FLAGS ?= --xla_backend_optimization_level=1
test: $(READY)
	$(BIN)/python -m pytest -q $(PYTEST_FLAGS)

test-thorough: $(READY)
	$(BIN)/python -m pytest -q -m "thorough and not slow" $(PYTEST_FLAGS)

test-slow: $(READY)
	$(BIN)/python -m pytest -q -m slow $(PYTEST_FLAGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(BIN)/mkdocs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reproduce: $(READY)
	$(BIN)/python experiments/reproduce.py

benchmark: $(READY)
	$(BIN)/python experiments/benchmark.py

$(READY): pyproject.toml requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.txt -e ".[dev,yields]"
	touch $@

$(BIN)/mkdocs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.txt -e ".[docs]"
	touch $@

clean:
	rm -rf runs site .pytest_cache .ruff_cache
