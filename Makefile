# Keepwatch from a clean clone: needs Python 3.11 or newer, make and git. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV ?= .venv
ARGS ?=
WORKERS ?= 2
UV ?= uv
BIN := $(VENV)/bin
SAY := printf '\033[1m%s\033[0m\n'

.PHONY: help demo test lint format lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.demo ## train on two months of real flights, replay ten, show alerts (ARGS=--exit: stop when done)
	@$(BIN)/python -m demo $(ARGS)

test: $(VENV)/.test ## lint, types and every test (ARGS go to pytest; WORKERS: how many processes)
	@$(SAY) 'Style'
	$(BIN)/ruff check --quiet . || { echo 'make test: ruff check failed (see above; `make format` mends most)' >&2; exit 1; }
	$(BIN)/ruff format --quiet --check . || { echo 'make test: these files are not formatted: run `make format`' >&2; exit 1; }
	$(SAY) 'Types'
	$(BIN)/mypy --no-error-summary || { echo 'make test: mypy failed (see above)' >&2; exit 1; }
	$(SAY) 'Tests'
	$(BIN)/python -m pytest --quiet --numprocesses $(WORKERS) --dist worksteal $(ARGS) || {
	  $(SAY) 'What failed, once more and one after the other'
	  $(BIN)/python -m pytest --quiet --last-failed --last-failed-no-failures none $(ARGS) &&
	    echo 'make test: what failed above passes alone: those tests need a quiet machine. Mend them.' >&2
	} || { echo 'make test: pytest failed (see above)' >&2; exit 1; }

lint: $(VENV)/.test ## ruff and mypy only
	@$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy --no-error-summary

format: $(VENV)/.test ## put the code in order
	@$(BIN)/ruff check --quiet --fix . || true
	$(BIN)/ruff format --quiet .

lock: ## resolve the dependencies again (needs uv; the index is whatever uv is set up with)
	@for part in build: runtime: demo:demo test:dev; do
	  name=$${part%%:*} extra=$${part##*:}
	  from=pyproject.toml; [ $$name = build ] && from=requirements/build.in
	  $(SAY) "requirements/$$name.txt"
	  $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    $${extra:+--extra $$extra} $$from --output-file requirements/$$name.txt
	  header="# Every package with its version and hashes. Made by \`make lock\`: uv pip compile --universal --generate-hashes $${extra:+--extra $$extra }$$from"
	  sed -i "1i $$header" requirements/$$name.txt
	done

clean: ## remove the environment, the demo's database and what builds leave behind
	@rm -rf $(VENV) .demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The environment: made once, and again only when a lock file changed. A stamp says which set of packages is in it.
# pip gets every package by name, version and hash, and resolves nothing; what must be built here (one data package
# and Keepwatch itself) is built with the locked tools.
$(VENV)/.made: requirements/build.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
	  echo 'Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3.11 …' >&2; exit 1; }
	$(SAY) 'Making $(VENV)'
	$(PYTHON) -m venv $(VENV)
	$(call install,build)
	touch $@

$(VENV)/.demo: $(VENV)/.made requirements/demo.txt pyproject.toml
	@$(call install,demo)
	$(call install_self)
	touch $@

$(VENV)/.test: $(VENV)/.made requirements/test.txt pyproject.toml
	@$(call install,test)
	$(call install_self)
	touch $@ $(VENV)/.demo

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --no-deps --no-build-isolation
LOG := $(VENV)/install.log
define install
$(SAY) "Installing requirements/$(1).txt"
total=$$(grep -c '^[a-z].*==' requirements/$(1).txt); seen=0
if ! { $(PIP) --progress-bar off --require-hashes -r requirements/$(1).txt 2>&1 | tee $(LOG) | while read -r word name _; do
    [ "$$word" = Collecting ] || continue
    seen=$$((seen + 1)); [ ! -t 1 ] || printf '\r\033[K  %d/%d %s' $$seen $$total "$${name%%=*}"
  done; }; then
  grep -v 'is ignored: it is neither' $(LOG) | tail -n 15 >&2
  echo 'Installing requirements/$(1).txt failed (see above); pip needs to reach its package index' >&2; exit 1
fi
[ ! -t 1 ] || printf '\r\033[K'
endef
define install_self
$(PIP) --quiet --quiet --editable . || { echo 'Installing Keepwatch itself failed (see above)' >&2; exit 1; }
endef
