# Each target does its own set-up: on a new machine, `make run` is all it takes.
PYTHON ?= python3
BIN := .venv/bin
UV = $(shell command -v uv || echo $(BIN)/uv)

.DEFAULT_GOAL := help
.PHONY: help setup run serve replay test lab docs sync lock

help: ## say what there is to make
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/.ready ## install exactly what the lock file says into .venv

.venv/.ready: requirements.txt settings.ini setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is $$($(PYTHON) --version 2>&1): expected Python 3.11 or newer. Try: make PYTHON=python3.12 …"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
	  { echo "make: $(PYTHON) cannot make a virtual environment: expected its venv module. On Debian: apt install python3-venv"; exit 1; }
	@test -x "$(UV)" || $(BIN)/python -m pip install --quiet "$$(grep '^uv==' requirements.txt)"
	@echo "Setting up .venv from the lock; this takes a minute or two the first time."
	@$(UV) pip sync --quiet --python $(BIN)/python --compile-bytecode requirements.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

run: setup ## train, judge, pack and register a model on the whole year
	@$(BIN)/mlops-course run

serve: setup ## serve the champion: the app, the API and its description
	@$(BIN)/mlops-course serve

replay: setup ## live through a year in production, and compare the policies
	@$(BIN)/mlops-course replay

test: setup ## run every check
	@$(BIN)/python .ci/check.py

lab: setup ## open the book in JupyterLab, with the exercises
	@$(BIN)/mlops-course learn --lab

docs: setup ## build the site in out/site
	@$(BIN)/python .ci/site.py

sync: setup ## export the library, clean the notebooks, generate README.md
	@$(BIN)/python .ci/check.py sync

lock: setup ## resolve all requirements anew, to the newest versions that work together
	@$(UV) pip compile --quiet --refresh --universal --python-version 3.11 --no-annotate --no-emit-index-url --no-emit-find-links \
	  --upgrade --all-extras --custom-compile-command "make lock" setup.py --output-file requirements.txt
