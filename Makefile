# Thin over the command `wire2app`; `make help` lists the targets.
#
#   SIM=verilator|icarus  SEED=1  WAVES=0|1  BUS=fast|pins  FILE=path  RUN="command"  T=test-name
#   A="server.py 80"  B="client.py"  SCRIPTS="folder ..."  SEEDS=1000  FIRST=0  NAME=lab  PARAM="a=1"

PYTHON ?= python3
W2A := .venv/bin/wire2app

# Given to the command through the environment, so that no quoting gets in between; and as they
# were typed, for make would look for variables of its own behind their dollar signs.
ifneq ($(value RUN),)
override RUN := $(value RUN)
endif
ifneq ($(value FILE),)
override FILE := $(value FILE)
endif
export SIM SEED WAVES BUS RTL FILE RUN T SECTION SCRIPTS SEEDS FIRST COUNT MODULE PARAM

.DEFAULT_GOAL := help
.PHONY: $(shell awk -F: '/^[a-z-]+:/ {print $$1}' $(MAKEFILE_LIST))

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

sim: .venv/ready-sim  ## the main job: HTTP over the RTL NIC, report, capture (SIM SEED FILE WAVES BUS)
	@$(W2A) sim

live: .venv/ready-sim  ## the simulated host at 10.77.0.2 for real programs (RUN="curl ..." SIM FILE)
	@$(W2A) live

waves: .venv/ready-sim  ## open the last run's signals in GTKWave
	@$(W2A) waves

bench: .venv/ready-sim  ## measure all speeds, in some minutes (SECTION="stack rtl ..." SEED)
	@$(W2A) bench

run: .venv/ready-sim  ## Python programs on simulated hosts (A="server.py 80" B="client.py" RTL SIM SEED)
	@$(W2A) run $(A) $(if $(B),-- $(B))

shell: .venv/ready-sim  ## ss, tcpdump, ip and the like on running simulated hosts; `go` moves time (SEED)
	@$(W2A) shell

lab: .venv/ready-sim  ## an experiment, or the list of them (NAME=syn-flood RTL=0|1 SIM PARAM="a=1 b=2" SEED)
	@$(W2A) lab $(NAME)

packetdrill: .venv/ready-sim  ## packetdrill scripts against the kernel, a table by folder (SCRIPTS="dir ...")
	@$(W2A) packetdrill

netsim: .venv/ready-sim  ## two hosts on a bad wire, a run a seed: loss, order, leaks (SEEDS FIRST)
	@$(W2A) netsim

fuzz: .venv/ready-sim  ## frames nobody would send at a host, 5,000 a seed: crashes, leaks (SEEDS FIRST)
	@$(W2A) fuzz

test: .venv/ready-test  ## every test, on both simulators unless SIM is given (SIM SEED T)
	@$(W2A) test all

test-stack: .venv/ready-test  ## the kernel without a simulator, in seconds (T)
	@$(W2A) test stack

test-rtl: .venv/ready-test  ## one module at a time (SIM SEED T)
	@$(W2A) test rtl

test-system: .venv/ready-test  ## from wire to application (SIM SEED T)
	@$(W2A) test system

regress: .venv/ready-test  ## what takes long: every length at line rate, all proofs, placement
	@$(W2A) regress

formal: .venv/ready-test  ## prove bus rules, rings, FIFOs, completions and interrupts of the RTL
	@$(W2A) formal

synth: .venv/ready-test  ## cells, clock and budget of the NIC in an FPGA (some minutes)
	@$(W2A) synth

coverage: .venv/ready-test  ## which lines, bits and kinds of traffic of the NIC its tests reach (some minutes)
	@$(W2A) coverage

mutate: .venv/ready-test  ## change the RTL one thing at a time: which change does no test notice? (COUNT SEED MODULE)
	@$(W2A) mutate

lint: .venv/ready-test  ## formats, types and lint of Python and RTL
	@$(W2A) lint

docs: .venv/ready-test  ## the documentation as a site, build/docs/index.html
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet && echo build/docs/index.html

regs: .venv/ready-sim  ## write what is generated from hdl/nic.rdl
	@$(W2A) regs

setup: .venv/ready-test  ## install what is missing; every target does this by itself

clean:  ## remove everything built; the environment in .venv stays
	rm -rf build .pytest_cache .mypy_cache .ruff_cache

.venv/ready-%: pyproject.toml wire2app/bootstrap.py
	@$(PYTHON) wire2app/bootstrap.py $*
