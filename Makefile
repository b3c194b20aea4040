# What a newcomer would guess. `make` alone lists the targets.
PYTHON ?= python3
export PYTHON
# The version of Slurm: make demo SLURM=24.11, make test SLURM=22.05. Empty: 26.05, and where they may differ the others.
SLURM ?=
export SLURM
BIN := .venv/bin
# Ansible and pytest of this checkout, not of whoever calls.
export PATH := $(CURDIR)/$(BIN):$(PATH)
SHELL := /bin/sh

.PHONY: help setup setup-image setup-lab lock demo demo-shell demo-clean test test-quick test-all test-fresh lint format docs bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo "SLURM=22.05, 24.11 or 26.05 chooses the version of Slurm: make demo SLURM=24.11"

setup: ## Install missing Debian packages and the pinned Python packages (.venv)
	@tools/setup.sh

setup-image:
	@tools/setup.sh --image

setup-lab:
	@tools/setup.sh --lab

lock: ## Pin the newest Python packages anew (requirements.lock)
	tools/lock.sh

demo: setup-image ## A real Slurm that grows and shrinks a cluster of containers on this machine (root)
	@demo/run demo

demo-shell: ## A shell on the demo's login node
	@demo/run shell

demo-clean: ## Remove everything that the demo made
	@demo/run clean

test-quick: setup ## Lint, unit and contract tests without root, containers and long series of plays: 3 minutes
	@$(BIN)/python tools/stages.py --quick lint unit

test: setup-lab ## Lint, unit, contract and end-to-end tests; says where the time went
	@$(BIN)/python tools/stages.py lint unit e2e openstack

test-all: setup-lab ## make test and the slow tests, on every version of Slurm, and test-fresh
	@$(BIN)/python tools/stages.py --slow lint unit e2e openstack fresh

test-fresh: ## HEAD on a Debian 12 that has next to nothing: setup, quick tests, the demo (root)
	@tools/fresh.sh

lint: setup ## ruff, mypy, ansible-lint, terraform, shellcheck
	@$(BIN)/python tools/lint.py

format: setup ## Format Python and Terraform
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	terraform fmt -recursive

docs: setup ## Write the generated references (docs/reference) anew
	$(BIN)/python tools/reference.py

bench: setup-lab ## Measure; JSON and a table (root)
	$(BIN)/python -m tests.bench

clean: ## Remove what make made here, except the demo (make demo-clean)
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .ansible
	find . -path ./.git -prune -o -path ./.demo -prune -o -name __pycache__ -type d -exec rm -rf {} +
