# Two commands matter: `make run` and `make test`. All targets are idempotent; they need python3 >= 3.11 and git.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.aegis-ready

.PHONY: run test check bench setup test-real soak clean

run: setup
	@$(BIN)/aegis demo

test: setup
	@$(BIN)/python tools/components.py --for test
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/pytest -n 3 --dist worksteal -q

check: setup
	@$(BIN)/ruff format --check src tests tools
	@$(BIN)/ruff check src tests tools
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

bench: setup
	@$(BIN)/python tools/bench.py

test-real: setup
	@$(BIN)/python tools/components.py --for real
	@AEGIS_REAL=1 $(BIN)/pytest -q -m real

soak: setup
	@$(BIN)/python tools/components.py --for soak
	@SOAK=1 $(BIN)/pytest -q tests/e2e/test_kill.py tests/e2e/test_disk_full.py tests/e2e/test_real_projects_server.py tests/e2e/test_adopt_real_projects.py
	@SOAK=1 $(BIN)/pytest -q -n0 tests/e2e/test_network_faults.py tests/e2e/test_runner_killed.py tests/unit/cli/test_ledger_copy.py
	@$(BIN)/python tools/soak_faults.py --seconds 2400 --json .cache/faults-server.json
	@$(BIN)/python tools/soak_faults.py --database --seconds 1200 --json .cache/faults-database.json
	@$(BIN)/python tools/soak_faults.py --disk --seconds 600 --json .cache/faults-disk.json
	@$(BIN)/python tools/soak_adopt.py
	@$(BIN)/python tools/soak_language.py

setup: $(STAMP)
	@$(BIN)/python -m compileall -q src || true

$(STAMP): requirements.lock pyproject.toml tools/setup.py
	@$(PYTHON) tools/setup.py $(VENV)

clean:
	rm -rf $(VENV) .aegis data
