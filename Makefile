# Every habit as a verb. `make up` and `make test` set up all they need, on a fresh machine too.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# What is tested on the compiled build too: the hot rooms, by themselves and together.
COMPILED := tests/unit/hub tests/unit/adapters tests/unit/model tests/unit/net tests/unit/policy tests/playbook tests/attacks

.PHONY: up test check long conformance bench docs sbom lock clean setup peers help
.DEFAULT_GOAL := help

help:  ## what can be done here
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 13

up: setup  ## set up, and run the demonstration (ARGS="--for 10" ends it by itself)
	@$(BIN)/lockgate demo $(ARGS)

test: setup peers  ## set up, install the real peers, run all tests, those of the hot rooms on the compiled build too
	@tools/tests tests/conformance
	@tools/tests --compiled -n 2 --dist loadfile $(COMPILED)
	@tools/tests -n 2 --dist loadfile --ignore=tests/conformance $(ARGS)

check: setup  ## lint, types, floors, fast tests, coverage, docs: some two minutes
	@tools/check

long: setup peers  ## the full form of the tests that have a short one
	@tools/tests tests/conformance
	@tools/tests --compiled tests/conformance
	@tools/tests --compiled -n 2 --dist loadfile $(COMPILED) tests/fuzz tests/interop/test_mosquitto.py tests/interop/test_paho.py tests/interop/test_mqttjs.py
	@tools/tests -n 2 --dist loadfile --ignore=tests/conformance -m "long or not long" $(ARGS)

conformance: setup  ## every statement of MQTT 3.1.1, 5.0 and CoAP, against our own hub or HUB=mqtt://... or coap://... (ELSEWHERE=NAME: its known differences)
	@tools/tests tests/conformance $(if $(HUB),--hub $(HUB),--keep-results) $(if $(HUB_CA),--hub-ca $(HUB_CA)) $(if $(ELSEWHERE),--elsewhere $(ELSEWHERE)) $(ARGS)
	@$(BIN)/python -m docs.reference

bench: setup  ## measure beside the other brokers, and write the tables (QUICK=1 for a short run)
	@PYTHON=$(PYTHON) tools/peers --bench
	@tools/installed .cache/installed
	@LOCKGATE_BENCH=$(CURDIR)/.cache/installed/bin/lockgate $(BIN)/python -m bench.run $(if $(QUICK),--quick) $(ARGS)
	@$(if $(QUICK)$(ARGS),true,[ ! -e bench/growth.py ] || LOCKGATE_BENCH=$(CURDIR)/.cache/installed/bin/lockgate $(BIN)/python -m bench.growth)

docs: setup  ## build the documentation into docs/_build/html
	@$(BIN)/python -m docs.reference --check
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

sbom: setup  ## the bill of materials (CycloneDX), and a check of the locked packages for known vulnerabilities
	@tools/sbom

lock: setup  ## choose the newest versions of all packages anew
	@tools/lock

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml setup.py requirements/dev.txt tools/setup
	@PYTHON=$(PYTHON) tools/setup
	@touch $@

peers:
	@PYTHON=$(PYTHON) tools/peers

clean:  ## remove everything that was made
	rm -rf $(VENV) build dist .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache docs/_build
	rm -rf tests/interop/js/node_modules bench/peers/js/node_modules src/*.egg-info .coverage
	find src tests bench docs -name __pycache__ -prune -exec rm -rf {} +
