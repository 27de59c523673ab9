# One target per gate. Every target sets up what it needs from the lock files.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
ARGS ?=
# Test processes; a file's tests stay in one of them.
WORKERS ?= auto
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION = 20
export PYTHONDONTWRITEBYTECODE = 1

.PHONY: setup peers run test lint types synth nag bench clean

setup:
	@$(MAKE) --silent --no-print-directory -j2 .venv/.python-ready node_modules/.node-ready

.venv/.python-ready: requirements-dev.txt
	@echo "→ Python packages from requirements-dev.txt (hashed), about a minute"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements-dev.txt \
	  | { grep --line-buffered -E '^(Collecting|Installing|Successfully|ERROR)' || true; } | cut -c1-100
	@$(BIN)/python -c "import site, pathlib; \
	  pathlib.Path(site.getsitepackages()[0], 'hoso.pth').write_text('$(CURDIR)\n$(CURDIR)/functions\n')"
	@printf '#!%s\nfrom infra.cli.main import main\n\nmain()\n' "$(CURDIR)/$(BIN)/python" > $(BIN)/hoso && chmod +x $(BIN)/hoso
	@touch $@

.venv/.peers-ready: requirements-peers.txt .venv/.python-ready
	@echo "→ Python packages that tests compare with, from requirements-peers.txt (hashed)"
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements-peers.txt \
	  | { grep --line-buffered -E '^(Collecting|Installing|Successfully|ERROR)' || true; } | cut -c1-100
	@touch $@

peers: setup
	@$(MAKE) --silent --no-print-directory .venv/.peers-ready

node_modules/.node-ready: package-lock.json
	@echo "→ Node packages from package-lock.json"
	@npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

run: setup
	@$(BIN)/hoso run $(ARGS)

test: peers
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup
	@node_modules/.bin/pyright -p pyproject.toml --pythonversion 3.11 \
	  && node_modules/.bin/pyright -p pyproject.toml --pythonversion 3.14

synth: setup
	@$(BIN)/python -m infra.synth

nag: setup
	@$(BIN)/python -m infra.synth --checks && $(BIN)/cfn-lint -i W -- cdk.out/*.template.json && echo "cfn-lint: no errors"

bench: peers
	@$(BIN)/python -m tests.benchmarks $(ARGS)

clean:
	@rm -rf .venv node_modules .build cdk.out .hoso .pytest_cache .ruff_cache .hypothesis
