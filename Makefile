# Everything a newcomer needs. Each target installs what it needs first; `make` alone lists them.

PYTHONS := python3 python3.13 python3.12 python3.11
BIN := .venv/bin
INSTALLED := .venv/.installed

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED) ## Create .venv from requirements.lock

demo: $(INSTALLED) ## Bill a month of a made-up customer, narrated
	@$(BIN)/postpaid demo

serve: $(INSTALLED) ## Run the server, its worker and its PostgreSQL, with data in .postpaid
	@$(BIN)/postpaid serve

test: $(INSTALLED) ## Run every test
	$(BIN)/pytest -n 3 --dist worksteal

check: $(INSTALLED) ## Check format, style, types, layers, docs and schema
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest tests/test_architecture.py tests/test_docs.py tests/storage/test_schema.py

schema: $(INSTALLED) ## Write what the migrations add up to into schema.sql
	$(BIN)/python -m postpaid.storage.schema

bench: $(INSTALLED) ## Measure, beside this machine's own limits
	$(BIN)/python -m benchmarks

lock: $(INSTALLED) ## Bring requirements.lock up to date with pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --generate-hashes \
	    --no-header --quiet --python-version 3.11 --output-file requirements.lock

$(INSTALLED): requirements.lock pyproject.toml
	@for python in $(PYTHONS); do \
	    if $$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	    then exec $$python -m venv .venv; fi; \
	done; \
	echo 'Postpaid needs Python 3.11 or newer with its venv module, and none of these is:' >&2; \
	echo '$(PYTHONS). (On Debian and Ubuntu: apt install python3-venv.)' >&2; \
	exit 1
	@echo 'Installing into .venv; this takes a while, once.'
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: help install demo serve test check schema bench lock
