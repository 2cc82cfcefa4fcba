# Everything a bare clone needs: `make run` to watch it work, `make test` to prove it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install install-dev run check format test faults unit fuzz bench docs site lock clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "ensurepip is missing: install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	@touch $@

install: $(VENV)/.installed  ## create .venv and install the locked dependencies

install-dev: $(VENV)/.installed-dev  ## the same with what the tests need

run: install  ## a live demonstration; FEEDS=my.toml for your own feeds, SECONDS=20 to end by itself
	@DEV_PARENT=$$PPID exec $(BIN)/python -m ingest dev $(if $(FEEDS),--feeds "$(FEEDS)") $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

format: install-dev  ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: install-dev  ## format, lint, types, imports, documentation, unit tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --quiet
	$(BIN)/python -m pytest -q -n 2 tests/unit

unit: install-dev  ## the unit tests alone
	$(BIN)/python -m pytest -q tests/unit

test: check  ## everything but the slow fault tests; REDIS_SERVER=/usr/bin/redis-server runs them on that instead of the embedded Valkey
	$(BIN)/python -m pytest -q -n 4 -m "not slow" tests --ignore tests/unit $(PYTEST_ARGS)

faults: install-dev  ## every fault, and what each cost; FAULTS_TABLE=table.md writes it down; WALKS=5000 walks further
	$(BIN)/python -m pytest -q tests/faults $(PYTEST_ARGS)
	WALKS=$(or $(WALKS),500) $(BIN)/python -m pytest -q -n 2 --timeout 1800 tests/integration/test_delivery_walk.py

$(VENV)/.installed-fuzz: requirements-fuzz.txt $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-fuzz.txt
	@touch $@

fuzz: $(VENV)/.installed-fuzz  ## feed parser and inflater what a fuzzer thinks of, FUZZ_SECONDS=60 each; needs atheris' wheels
	$(BIN)/python -m tests.fuzz.run parser $(or $(FUZZ_SECONDS),60)
	$(BIN)/python -m tests.fuzz.run inflater $(or $(FUZZ_SECONDS),60)

$(VENV)/.installed-bench: requirements-bench.txt $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-bench.txt
	@touch $@

bench: $(VENV)/.installed-bench  ## measure everything, about 15 minutes; BENCH_ONLY=queue,depth picks, BENCH_ROUNDS=1 is quicker
	$(BIN)/python -m benchmarks.run

docs: install-dev  ## write the generated parts of the documentation again
	$(BIN)/python docs/generate.py

site: install-dev  ## build the documentation as a site, in build/site
	$(BIN)/mkdocs build

lock:  ## resolve the dependencies again (needs uv on the path)
	uv pip compile pyproject.toml --extra embedded --extra top --universal --generate-hashes --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header --upgrade -q -o requirements.txt
	uv pip compile pyproject.toml --extra embedded --extra top --extra test --universal --generate-hashes --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header --upgrade -q -c requirements.txt -o requirements-dev.txt
	printf 'matplotlib>=3.9\npicows>=2.3\n' | uv pip compile - --universal --generate-hashes --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header --upgrade -q -c requirements-dev.txt -o requirements-bench.txt
	echo 'atheris>=3,<3.1' | uv pip compile - --universal --generate-hashes --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header --upgrade -q -o requirements-fuzz.txt

clean:  ## remove what was generated
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage
