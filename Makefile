# Each target may be the first command on a fresh machine: it installs what it needs, or says what is missing.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test bench check-long format completions clean

install: $(STAMP)

$(STAMP): pyproject.toml .ci/prepare
	@bash .ci/prepare "$(PYTHON)"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@echo "Installing (llama-cpp-python is compiled the first time: about 10 minutes on 2 cores)"
	@$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@
	@echo "Done. Try: $(BIN)/kimi-code --help, or: make demo"

demo: install
	@$(BIN)/kimi-code models pull
	@$(BIN)/kimi-code demo

test: install
	@bash .ci/prepare "$(PYTHON)" test
	@$(BIN)/kimi-code models pull
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 -m "not long and not model"
	$(BIN)/python -m pytest -m "model"

check-long: install
	$(BIN)/python -m pytest -m "long"

bench: install
	@$(BIN)/kimi-code models pull
	$(BIN)/python -m benchmarks.prompt_budget
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.steps
	$(BIN)/python -m benchmarks.session_open
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.repair_bench --limit 6 --timeout 180

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

completions: install
	@for shell in bash zsh fish; do $(BIN)/kimi-code completion $$shell > completions/kimi-code.$$shell; done

clean:
	rm -rf $(VENV) dist build
