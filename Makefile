# Everything a new machine needs is installed by these verbs: Python 3.11+ and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLIENT := clients/typescript

.PHONY: help setup demo serve test check format clean browser simulate chaos bench faults typescript

help:  ## Show the verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## Install the locked packages into .venv

$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: setup  ## Run the main job on the embedded default, then keep serving (EXIT=1 to end)
	@$(BIN)/replica demo $(if $(EXIT),--exit,)

typescript: $(CLIENT)/dist/.built  ## Build the TypeScript client with the node of .venv

$(CLIENT)/dist/.built: $(STAMP) $(CLIENT)/package-lock.json $(wildcard $(CLIENT)/*.json $(CLIENT)/src/*.ts $(CLIENT)/src/*/*.ts $(CLIENT)/test/*.ts)
	@sh tools/build-typescript.sh $(VENV)

browser: setup  ## Install Chromium for the browser tests where that is possible
	@sh tools/install-browser.sh

test: setup browser typescript check  ## Lint, types, import contracts, tests
	@$(BIN)/python -m pytest -n 2 --dist worksteal

bench: setup  ## Measure against floor and peers in the same run (SHORT=1 for fewer rounds)
	@$(BIN)/python -m benchmarks $(if $(SHORT),--short,)

simulate: setup  ## Break it on purpose: SEEDS=1000, SEED=7 for one, LEDGER=file to resume, MUTANTS=1, AWAITS=1
	@$(if $(AWAITS),AWAITS=1 $(BIN)/python -m pytest -q --timeout=0 tests/simulation/test_awaits.py,$(BIN)/python -m \
	  tests.simulation.report --seeds $(or $(SEEDS),1000) $(if $(FIRST),--first $(FIRST),) \
	  $(if $(SEED),--seed $(SEED),) $(if $(LEDGER),--ledger $(LEDGER),) $(if $(MUTANTS),--mutants,))

faults: setup  ## Break the QuickBooks sink on purpose: FAULTS=5000, SEED=7 to replay one history
	@$(BIN)/python -m tests.qbo_sink.exactly_once --faults $(or $(FAULTS),5000) $(if $(SEED),--seed $(SEED),)

chaos: setup  ## Kill real processes, fail every system call, cut the power: KILLS=2000, SEED=1
	@$(BIN)/python -m tests.chaos --kills $(or $(KILLS),2000) --seed $(or $(SEED),1)

check: setup  ## Lint, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup  ## Rewrite the sources in the house style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:  ## Remove what setup and runs have made
	rm -rf $(VENV) var $(CLIENT)/dist $(CLIENT)/node_modules .mypy_cache .ruff_cache .import_linter_cache
