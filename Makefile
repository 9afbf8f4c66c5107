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

DEMO  := runs/demo
SUITE := --model open_clip --tasks spec_mini,vismin_mini,med_mini --output_path $(DEMO)
TUNE  := $(BIN)/minchange-eval train clip --config examples/train/mini.yaml --force
GATE  := $(BIN)/minchange-eval gate --baseline $$(tail -1 $(DEMO)/baseline.txt)

# each run's last line is the path of its record
demo: $(READY)  ## score the bundled CLIP, gate three checkpoints against it (one fine-tuned here), write a report of all
	@mkdir -p $(DEMO)
	$(BIN)/lmms_eval $(SUITE) --model_args model_name=minchange-tiny > $(DEMO)/baseline.txt
	cat $(DEMO)/baseline.txt
	$(BIN)/lmms_eval $(SUITE) --model_args model_name=minchange-tiny,dtype=bf16 > $(DEMO)/half.txt
	$(BIN)/python examples/damage_checkpoint.py $(DEMO)/damaged
	$(BIN)/lmms_eval $(SUITE) --model_args model_name=$(DEMO)/damaged > $(DEMO)/damaged.txt
	$(BIN)/python examples/draw_plain_pairs.py --output $(DEMO)/plain.tar --n 2000 --seed 4000000 --edge-px 128
	$(TUNE) --plain $(DEMO)/plain.tar --output $(DEMO)/tuned --evaluate spec_mini,vismin_mini,med_mini --evaluate-every 0
	$(GATE) --margin 0.03 --candidate $$(tail -1 $(DEMO)/half.txt)
	$(GATE) --policy examples/ci/gate_policy.yaml --candidate $(DEMO)/tuned/records/after.jsonl
	$(GATE) --margin 0.03 --candidate $$(tail -1 $(DEMO)/damaged.txt); test $$? -eq 1  # a regression, as it should be
	for name in spec_mini vismin_mini med_mini; do $(BIN)/minchange-eval audit $$name --out $(DEMO)/audit_$$name.txt; done
	$(BIN)/minchange-eval report $$(for run in baseline half damaged; do tail -1 $(DEMO)/$$run.txt; done) \
	  $(DEMO)/tuned/records/after.jsonl --out $(DEMO)/report.html

test: $(READY)  ## all tests, offline
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(READY)  ## lint, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_import_directions.py

benchmark: $(READY)  ## the table of benchmarks/README.md
	$(BIN)/python -m benchmarks.speed

clean:
	rm -rf $(VENV) build dist runs *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
