# agnn_lit: `make help` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
RUN    ?= runs/demo/default
ARGS   ?=
TWO    := -n 2 --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help setup demo real train eval predict sweep report benchmark docs test test-all test-slow test-gpu lint clean

help:  ## list the targets
	@awk 'BEGIN {FS = ":.*##"} /^[a-z-]+:.*##/ {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "ARGS='key=value ...' passes settings on: make train ARGS='model.rounds=5 seed=1'"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 14) else \
	  "Python %d.%d found; agnn_lit needs 3.10 to 3.13: make setup PYTHON=/path/to/python" % v[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(STAMP)  ## create .venv and install everything; fast when nothing changed

demo: $(STAMP)  ## train on built-in videos for four minutes, evaluate, and make the report
	$(BIN)/agnn-train experiment=demo $(ARGS)
	$(BIN)/agnn-evaluate run=$(RUN) batch_size=4
	$(BIN)/agnn-report 'runs=[$(RUN)]' out=runs/demo/report

real: $(STAMP)  ## a model for real video, in three stages (hours): AGNN_DAVIS_ROOT=DIR AGNN_STATIC_ROOTS='[DIR,DIR]' make real
	$(BIN)/agnn-train experiment=davis16_lite_photos $(ARGS)
	$(BIN)/agnn-train experiment=davis16_lite_crowds $(ARGS)
	$(BIN)/agnn-train experiment=davis16_lite $(ARGS)
	$(BIN)/agnn-evaluate run=runs/davis16_lite/default experiment=stages size=[288,512]

train: $(STAMP)  ## train on DAVIS-2017: AGNN_DAVIS_ROOT=DIR make train ARGS='model.rounds=3'
	$(BIN)/agnn-train $(ARGS)

eval: $(STAMP)  ## score a run: make eval RUN=runs/NAME/SETTINGS ARGS='protocol=davis2016'
	$(BIN)/agnn-evaluate run=$(RUN) $(ARGS)

predict: $(STAMP)  ## masks for your own video: make predict ARGS='input=FILE_OR_FOLDER out=DIR run=runs/NAME/SETTINGS'
	$(BIN)/agnn-predict $(ARGS)

sweep: $(STAMP)  ## train an ablation with several seeds: make sweep EXP=rounds SEEDS=3 ARGS='hydra/launcher=parallel'
	$(BIN)/agnn-train --multirun $(if $(EXP),experiment=$(EXP)) $(if $(SEEDS),seed=$(shell seq -s , 0 $$(($(SEEDS) - 1)))) $(ARGS)

report: $(STAMP)  ## one HTML page: make report RUN=runs/NAME/SETTINGS, or EXP=rounds for a sweep and its record in experiments/
	$(if $(EXP),$(BIN)/agnn-report 'runs=[runs/$(EXP)]' out=runs/$(EXP)-report record=experiments/$(EXP) $(ARGS),\
	  $(BIN)/agnn-report 'runs=[$(RUN)]' out=$(RUN)/report $(ARGS))

benchmark: $(STAMP)  ## speed and memory against plain code: make benchmark ARGS='topic=inference out=FILE.json' (also crf, data, graph, objects, scoring, video)
	$(BIN)/agnn-benchmark $(or $(ARGS),topic=scoring)

test: $(STAMP)  ## lint, check types, run the quick tests (5 minutes); set AGNN_DAVIS_ROOT to include those on real footage
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest $(TWO) -m 'not long and not slow and not gpu' $(ARGS)

test-all: $(STAMP)  ## after `make test`: sweeps, kills, launchers, several processes, packaging, documents (20 minutes)
	$(BIN)/pytest $(TWO) -m 'long and not slow and not gpu' $(ARGS)

test-slow: $(STAMP)  ## tests that train for minutes, and the commands of the longer records
	$(BIN)/pytest -m slow $(ARGS)

test-gpu: $(STAMP)  ## tests that need a CUDA device
	$(BIN)/pytest -m gpu $(ARGS)

docs: $(STAMP)  ## the documentation site, in site/; a broken link or a missing docstring is an error
	$(BIN)/ruff check --select D1 src
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

lint: $(STAMP)  ## fix what ruff can fix, and check types
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

clean:  ## remove the environment and caches; runs/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov dist build
