# make run   the environment and the default run
# make test  the environment and the tests; make test-slow the slow ones (whole workflows, kills, benchmarks)
# make env   the environment in .venv alone
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: run test test-slow env lint format docs lock benchmark gpu-check full-size kill-test

run: env
	$(BIN)/snakemake --cores 1 --resources gpu=1

test: env
	$(BIN)/pytest

test-slow: env
	$(BIN)/pytest -m slow

env: .venv/ready

.venv/ready: envs/torch.txt envs/requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; found " + sys.version.split()[0] + ". Name one: make run PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(PIP) -r envs/torch.txt
	$(PIP) --no-deps -r envs/requirements.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

lint: env
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/Snakefile workflow/rules
	$(BIN)/snakemake --lint

format: env
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(BIN)/snakefmt Snakefile workflow/Snakefile workflow/rules

docs: env
	$(BIN)/multiblock reference > docs/config.md

benchmark: env
	$(BIN)/python benchmarks

# Each path through a GPU once, minutes: make gpu-check GPU_CHECK="--published DIR". Its tables are made in any case.
gpu-check: env
	@held=0; $(BIN)/python benchmarks/gpu_check.py $(GPU_CHECK) || held=$$?; \
	$(BIN)/python benchmarks feeding steps --device cuda --out results/gpu && exit $$held

# The multiblock study at full size: make full-size SETS="city100=DIR realsr=DIR"
full-size: env
	$(BIN)/python benchmarks/full_size.py $(SETS) $(FULL_SIZE)

KILLS ?= 100

kill-test: env
	$(BIN)/python tests/kill.py --kills $(KILLS) --out results/kill_test.md

# Resolve requirements.in anew in an environment of its own.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet -r envs/torch.txt
	.venv-lock/bin/pip install --quiet -r envs/requirements.in
	(echo "# Written by make lock; torch is in torch.txt."; .venv-lock/bin/pip freeze --all | grep -vE "^(torch|torchvision|pip)==") > envs/requirements.txt
	rm -rf .venv-lock
