# `make demo` and `make test` do all the set-up themselves; repeated, they install nothing.
PYTHON ?= python3
VENV   ?= .venv
READY  := $(VENV)/.ready
BIN    := $(VENV)/bin

.PHONY: demo test check benchmark clean
.DELETE_ON_ERROR:

$(READY): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 14); sys.exit(None if ok else "minchange-eval: expected Python 3.11 to 3.13, got " + sys.version.split()[0] + "; run: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[all,dev]'
	@touch $@

demo: $(READY)  ## score the bundled CLIP on the embedded suites
	$(BIN)/lmms_eval --model open_clip --model_args model_name=minchange-tiny \
	  --tasks spec_mini,vismin_mini,med_mini --output_path runs

test: $(READY)  ## all tests, offline
	$(BIN)/python -m pytest

check: $(READY)  ## lint, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_import_directions.py

benchmark: $(READY)  ## the table of benchmarks/README.md
	$(BIN)/python -m benchmarks.speed

clean:
	rm -rf $(VENV) build dist runs *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
