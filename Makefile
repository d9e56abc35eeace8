# Two commands do everything on a machine with Python >= 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test check format docs bench lock lock-check clean

help: ## what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Everything is installed from the lock, hashes checked; uv too comes into .venv, nothing outside it is touched.
$(READY): requirements.lock pyproject.toml $(BIN)/uv
	@VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip sync --quiet --require-hashes requirements.lock requirements-uv.lock
	@VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(BIN)/uv: requirements-uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		(echo "$(PYTHON) is older than 3.11: make PYTHON=python3.12 …, or another that is newer" >&2; exit 1)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@touch $@

demo: $(READY) ## the main job with real components, in under 3 minutes
	@$(BIN)/lgsp demo $(ARGS)

test: $(READY) ## every test, with real PostgreSQL and Kafka
	@$(BIN)/python -m pytest $(ARGS)

check: $(READY) lock-check ## what CI checks besides the tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## put the code in the project's format
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

docs: $(READY) ## print the reference pages anew from the code
	@$(BIN)/python -m tests.pages

bench: $(READY) ## speed and memory, each figure beside a yardstick of the same run
	@$(BIN)/python -m tests.benchmarks $(ARGS)

lock: $(BIN)/uv ## write the locks anew with the newest versions
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --all-extras --group dev pyproject.toml --upgrade -o requirements.lock
	@echo uv | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate - -o requirements-uv.lock

lock-check: $(READY) ## the lock says what pyproject.toml asks for
	@cp requirements.lock .venv/lock-check
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --all-extras --group dev pyproject.toml -o .venv/lock-check >/dev/null
	@cmp requirements.lock .venv/lock-check || (echo 'requirements.lock is not current: run make lock' >&2; exit 1)

clean: ## remove what the targets made here
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
