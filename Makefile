# Two commands are all a newcomer needs: `make demo` and `make test`. Both set the environment up first.

PYTHON ?=
GPU ?=
CONFIG ?= configs/local.yaml
ARGS ?=
BIN := .venv/bin

# Tests start many small processes on few cores: one compute thread in each, or they fight over the cores. A run
# sets its own thread counts, so `demo` exports none of this. Offline, because nothing may need the network here.
TEST_ENVIRONMENT := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 WANDB_MODE=offline \
	RAY_USAGE_STATS_ENABLED=0 VLLM_NO_USAGE_STATS=1

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'Variables: CONFIG=configs/local.yaml, ARGS="key.sub=value ...", GPU=1 (CUDA build), PYTHON=python3.11'

setup: ## create .venv with the pinned packages (under 5 s when it is there)
	@command -v $(or $(PYTHON),python3) > /dev/null || { \
		echo 'set-up failed: $(or $(PYTHON),python3) is not on PATH; install Python 3.11 (Debian, Ubuntu:' \
		'apt-get install python3 python3-venv python3-dev) or give one: make setup PYTHON=/path/to/python3.11' >&2; \
		exit 1; }
	@$(or $(PYTHON),python3) scripts/set_up.py $(if $(GPU),--extra gpu) $(if $(PYTHON),--python $(PYTHON))

demo: setup ## train the tiny policy on local.yaml, end to end; prints the result table and the report's path
	$(BIN)/python -m cluster.launch --config $(CONFIG) $(ARGS)

test: setup lint ## lint, then every test but the ones marked slow
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest $(ARGS) || { status=$$?; test $$status -eq 5; }

lint: setup ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean: ## remove caches (not .venv, not runs/)
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
