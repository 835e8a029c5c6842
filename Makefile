# `make` alone shows what there is. Needs Debian (or a relative), root for what mounts, and Python 3.11 or newer.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UVB := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet
UV := $(UVB) pyproject.toml

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock requirements-build.lock pyproject.toml
	@echo "== virtual environment"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: env
env: $(READY) ## Make the virtual environment

.PHONY: demo
demo: ## The whole path on a local two-node cluster with CephFS, told step by step
	@$(PYTHON) -m e2e.demo

.PHONY: check
check: $(READY) ## The quick checks: format, lint, types, rings, unit tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit tests/repo

.PHONY: test
test: $(READY) ## All tiers: check, component, conformance, end to end
	@$(BIN)/python -m e2e.tiers

.PHONY: bench
bench: $(READY) ## Measure, beside peers in the same run; prints a table and writes results/bench.json
	@$(BIN)/python -m e2e.bench

.PHONY: cluster
cluster: ## Leave a local two-node cluster running for a developer
	@$(PYTHON) -m e2e.cluster build
	@$(PYTHON) -m e2e.cluster ceph up
	@$(PYTHON) -m e2e.cluster up --nodes 2

.PHONY: cluster-down
cluster-down: ## Remove it
	@$(PYTHON) -m e2e.cluster down --all

.PHONY: image
image: ## Build both images without a registry
	@$(PYTHON) -m e2e.cluster image

.PHONY: crds
crds: $(READY) ## Write the CRDs from the models, and the chart's copy of them
	$(BIN)/python -m vfolder_operator.crds.generate crds
	mkdir -p charts/vfolder/files/crds && cp crds/*.yaml charts/vfolder/files/crds/

.PHONY: proto
proto: $(READY) ## Generate the gRPC stubs
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I csi --python_out=csi --grpc_python_out=csi --mypy_out=csi --mypy_grpc_out=csi \
		csi/vfolder_csi/_proto/csi.proto csi/vfolder_csi/_proto/pluginregistration.proto

.PHONY: lock
lock: $(READY) ## Resolve the locked versions anew
	$(BIN)/pip install --quiet uv
	$(UV) --all-extras --group dev --output-file requirements.lock
	echo 'hatchling>=1.27' | $(UVB) - --constraints requirements.lock --output-file requirements-build.lock
	$(UV) --extra operator --constraints requirements.lock --output-file requirements-operator.lock
	$(UV) --extra csi --constraints requirements.lock --output-file requirements-csi.lock
	$(UV) --extra sim --constraints requirements.lock --output-file requirements-sim.lock

.PHONY: fmt
fmt: $(READY) ## Format, and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
