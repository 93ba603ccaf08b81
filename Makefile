# Set-up, the demonstration and the checks. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
STAMP := $(VENV)/.installed
ECOSYSTEM_VENV ?= .venv-ecosystem
ECOSYSTEM_BIN := $(abspath $(ECOSYSTEM_VENV))/bin
ECOSYSTEM_PACKAGES := $(ECOSYSTEM_VENV)/.packages
ECOSYSTEM_STAMP := $(ECOSYSTEM_VENV)/.installed
LINT_TREE := build/lint-tree
PEERS := build/peers
BENCH ?=

.PHONY: help demo docs notebooks test coverage torture test-builds test-ecosystem test-sktime lint bench-layer bench-kan_layer bench-lstm bench-rational bench-block bench-gpu bench-peers clean
.DEFAULT_GOAL := help

# Tests start some hundred processes: what they import is compiled once, also where the environment says to keep nothing.
unexport PYTHONDONTWRITEBYTECODE

help: ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: $(STAMP) ## train a QKAN-LSTM and an LSTM of its size on the telecom series (runs/demo, runs/demo-lstm), and compare
	$(BIN)/qkan train lstm --data telecom --cell lstm --hidden-size 3 --out runs/demo-lstm --overwrite
	$(BIN)/qkan train lstm --data telecom --hidden-size 2 --out runs/demo --overwrite
	$(BIN)/qkan evaluate runs/demo runs/demo-lstm
	$(BIN)/qkan plot season runs/demo --overwrite

docs: $(STAMP) ## build the documentation to build/site (open index.html there); a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

notebooks: $(STAMP) ## run examples/notebooks/*.py and write each with its outputs as .ipynb
	$(BIN)/python -m pip install --no-compile --constraint constraints.txt --group notebooks
	$(BIN)/python tools/notebooks.py

# Every process gets a run of files, so that few fixtures are made by two of them.
test: $(STAMP) ## run all tests
	$(BIN)/pytest --numprocesses auto --dist worksteal

coverage: $(STAMP) ## run all tests and count the lines and branches they reach; less than 95 % fails
	$(BIN)/pytest --numprocesses auto --dist worksteal --cov --cov-report term:skip-covered --cov-fail-under 95

test-builds: $(STAMP) ## compile the Triton kernels for three GPUs in twice as many cases as the suite does
	TRITON_BUILDS=all $(BIN)/pytest tests/kernels -k triton_builds

torture: $(STAMP) ## damage files, draw options, feed odd tensors, kill trainings: 580 cases in two processes
	PYTHONPATH=tests/support $(BIN)/python -m torture

# timm imports torchvision, which fits one build of torch only: so the tests beside other people's libraries have an
# environment of their own. Without the conftest of tests/, which needs what only .venv has and keeps this folder out of
# `make test`.
test-ecosystem: $(ECOSYSTEM_STAMP) ## run the tests that need timm, transformers, neuralforecast, darts, sktime, statsforecast or Ray, in .venv-ecosystem (6.7 GB)
	$(ECOSYSTEM_BIN)/pytest --numprocesses auto --dist loadgroup --confcutdir tests/ecosystem tests/ecosystem

test-sktime: $(ECOSYSTEM_STAMP) ## run all 890 checks of sktime, of which test-ecosystem runs a choice
	SKTIME_CHECKS=all $(ECOSYSTEM_BIN)/pytest --confcutdir tests/ecosystem tests/ecosystem/test_sktime.py -k checks

# mypy and import-linter read packages from a plain directory tree: they do not follow the mapping of kernels/, datasets/
# and cli/ into qkan.* that an editable install sets up. So they get a copy with these in their places (times kept, for
# the cache of mypy), and paths are mapped back.
lint: $(STAMP) ## check style, format, types and layering
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf $(LINT_TREE) && mkdir -p $(LINT_TREE)
	cp -Rp qkan $(LINT_TREE) && cp -Rp kernels datasets cli $(LINT_TREE)/qkan
	cd $(LINT_TREE) && $(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache \
		| sed -E 's#^qkan/(kernels|datasets|cli)/#\1/#'
	cd $(LINT_TREE) && PYTHONPATH=. $(BIN)/lint-imports --config $(CURDIR)/pyproject.toml

bench-layer bench-kan_layer bench-lstm bench-rational bench-block: bench-%: $(STAMP)
	$(BIN)/python -m benchmarks.$* $(BENCH)

bench-layer: ## measure layers: errors, time, memory; options in BENCH="--peers --threads 2"
bench-kan_layer: ## measure layers of splines
bench-lstm: ## measure recurrences
bench-rational: ## measure rational activations
bench-block: ## measure GPT blocks with an MLP and with HQKANs

bench-gpu: $(STAMP) ## what kernels compute on this machine's GPU and how fast, in eight minutes (BENCH=--dry without one)
	$(BIN)/python -m benchmarks.gpu $(BENCH)

# One environment a package, with the torch of constraints.txt. The original package is built with the torch that it runs
# with. `make -k bench-peers` goes on where an index lacks a package: --peers then says that it is not installed.
bench-peers: $(patsubst benchmarks/peers/%.txt,$(PEERS)/%/.installed,$(wildcard benchmarks/peers/*.txt)) ## make the environments of the packages that --peers measures, in build/peers

$(PEERS)/%/.installed: benchmarks/peers/%.txt constraints.txt | $(STAMP)
	$(BIN)/python -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --constraint constraints.txt torch setuptools wheel ninja numpy
	$(@D)/bin/pip install --quiet --constraint constraints.txt $(if $(filter qkan-%,$*),--no-build-isolation) torch --requirement $<
	touch $@

clean: ## remove the virtual environments, build outputs and caches; keep runs/
	rm -rf $(VENV) $(ECOSYSTEM_VENV) build dist *.egg-info .coverage* .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Build tools come from the constraints as well, so building needs no environment (and no download) of its own. What is
# imported is compiled then, not all of what is installed.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "qkan-seq needs Python 3.10 or newer, but $(PYTHON) is " + sys.version.split()[0] + ": name another one, for example make test PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-compile --constraint constraints.txt --upgrade pip setuptools
	$(BIN)/python -m pip install --no-compile --constraint constraints.txt --no-build-isolation --group test --group lint --group docs --editable '.[pennylane,onnx,sklearn]'
	touch $@

# In two steps: the packages of others, which take the time, can be installed while something else writes the metadata of
# this checkout.
$(ECOSYSTEM_PACKAGES): pyproject.toml constraints-ecosystem.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "make test-ecosystem needs Python 3.11 or newer, but $(PYTHON) is " + sys.version.split()[0] + ": name another one, for example make test-ecosystem PYTHON=python3.12")'
	$(PYTHON) -m venv $(ECOSYSTEM_VENV)
	$(ECOSYSTEM_BIN)/python -m pip install --no-compile --constraint constraints-ecosystem.txt --upgrade pip setuptools
	$(ECOSYSTEM_BIN)/python -m pip install --no-compile --constraint constraints-ecosystem.txt torch torchvision timm transformers pytest pytest-xdist neuralforecast lightgbm statsforecast captum darts sktime 'ray[client]'
	touch $@

$(ECOSYSTEM_STAMP): $(ECOSYSTEM_PACKAGES)
	$(ECOSYSTEM_BIN)/python -m pip install --no-compile --constraint constraints-ecosystem.txt --no-build-isolation --editable '.[neuralforecast,baselines,darts,sktime,ray]'
	touch $@
