# Everything a newcomer does is one command. CI runs the same ones.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# nginx, haproxy, caddy: documented examples; prometheus: promtool; chromium: the status page.
TOOLS  := systemd nginx-light haproxy prometheus pgbouncer chromium jq caddy

.PHONY: demo test quick faults fuzz coverage simulate torture mutants soak test-tools lint fmt bench run clean

demo: $(VENV)/.runtime          ## the main job, live, against a simulated Assure
	$(BIN)/reconciler demo

test: $(VENV)/.dev lint         ## lint, types, import rules, all tests
	$(BIN)/pytest

quick: $(VENV)/.dev             ## the core, the configuration and what every room uses: about 20 s
	$(BIN)/pytest -n0 -q tests/ledger tests/config tests/runtime

faults: $(VENV)/.dev            ## the tests of faults, and the tables that docs/guarantees.md has of them
	$(BIN)/python -m tests.faults.table

fuzz: $(VENV)/.dev              ## INPUTS=100000 generated ones for all that reads; SEED= and ONLY= repeat
	RECONCILER_FUZZ_INPUTS=$(or $(INPUTS),100000) RECONCILER_FUZZ_SEED=$(SEED) \
		$(BIN)/pytest -n0 '$(or $(ONLY),tests/fuzz)'

simulate: $(VENV)/.dev          ## SEEDS=1000 runs of a month with faults, on virtual time; or SEED=17
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000))

coverage: $(VENV)/.dev          ## all tests, then the lines and branches that none of them takes
	$(BIN)/pytest --cov --cov-report=term

torture: $(VENV)/.dev           ## kill -9 and power cuts: ROUNDS=200 of them, SEED=1, ON=sqlite for one kind
	$(BIN)/python -m tests.torture --rounds $(or $(ROUNDS),200) --seed $(or $(SEED),1) $(ON)

mutants: $(VENV)/.dev           ## break a copy of the package in each way that a test must notice
	$(BIN)/python -m tests.mutants

soak: $(VENV)/.dev              ## an hour of callbacks, faults and restarts, with a picture; SOAK=5m, RATE=200
	$(PIP) -e '.[dev,soak]'
	$(BIN)/python -m tests.soak $(or $(SOAK),1h) --rate $(or $(RATE),200)

test-tools:                     ## Debian, as root: what some tests drive and else skip for want of
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(TOOLS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(VENV)/.dev               ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev             ## every performance figure of the documentation, measured here
	$(BIN)/python -m benchmarks

run: $(VENV)/.runtime           ## the daemon, with config/reconciler.toml
	$(BIN)/reconciler run

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

OLD := Python 3.11 or newer is needed; name one, such as: make demo PYTHON=python3.12

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is $$($(PYTHON) -V 2>&1). $(OLD)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.runtime
