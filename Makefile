# Two commands: `make run` shows a container, `make test` proves the rest. `make help` lists them all.

SHELL := /bin/sh
# Debian's own Python where there is one: version managers put slow shims before it.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
BIN := .venv/bin
# Three tests at a time on the smallest machine we know: they often wait. More engines at once use up the address pools.
JOBS ?= $(shell n=$$(nproc); [ $$n -gt 4 ] && n=4; [ $$n -lt 3 ] && n=3; echo $$n)
# A process that has no tests left takes half of another's: shared out at the start, the last minutes were one's alone.
SIDE_BY_SIDE := -n $(JOBS) --dist worksteal
PYTEST := $(BIN)/python -m pytest
# An engine that may not keep what it has compiled takes three times as long to start.
unexport PYTHONDONTWRITEBYTECODE
export PATH := /usr/local/sbin:/usr/sbin:/sbin:$(PATH):$(CURDIR)/.venv/libexec

.PHONY: help setup setup-test root run install uninstall stop catalog clients test coverage test-unit test-pythons test-system test-heavy test-guest
.PHONY: lint format bench deb docs constraints protocols clean

help:            ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

setup:           ## install what darse needs: Debian packages, .venv/bin/darsed, .venv/bin/darse
	@$(PYTHON) setup/machine.py run

setup-test:      ## install what the tests need, too
	@$(PYTHON) setup/machine.py test

root:
	@[ "$$(id -u)" = 0 ] || { echo "darse needs root for now (namespaces, mounts, the firewall): try 'sudo make $(MAKECMDGOALS)'." >&2; exit 1; }

run: root setup  ## run a container; `make stop` stops the engine that this starts
	@$(BIN)/darse rm -f darse-hello >/dev/null 2>&1
	@$(BIN)/darse run --name darse-hello builtin/hello-world
	@echo "To see what that took, step by step:   $(CURDIR)/$(BIN)/darse explain darse-hello --last start"
	@echo "To try something more ambitious:       $(CURDIR)/$(BIN)/darse run -it builtin/busybox sh"

install: root setup  ## have systemd start the engine; DOCKER=1: take docker's socket and name, too
	@$(BIN)/darse system $(if $(DOCKER),takeover,enable)

uninstall: root  ## undo `make install`; containers run on
	@$(BIN)/darse system takeover --undo
	@$(BIN)/darse system disable

stop:            ## stop the engine that `make run` or `darse` started; containers run on
	@$(PYTHON) setup/stop_engine.py

catalog: root setup-test  ## build the images that the tests pull from a registry of their own
	@$(BIN)/python -m tests.catalog

clients: setup-test  ## build and fetch the third-party clients that tests/clients drive (Go, npm)
	@$(BIN)/python -m tests.support.clients

test: root setup-test catalog  ## all tests but the heavy ones
	@$(BIN)/python tests/run.py $(SIDE_BY_SIDE)

coverage: root setup-test catalog  ## the same, and which lines they run
	@$(BIN)/python tests/run.py --coverage $(SIDE_BY_SIDE)

test-unit: setup-test  ## the tests that need no root
	@$(PYTEST) -q $(SIDE_BY_SIDE) tests/unit

test-pythons: setup-test  ## the same on Python 3.11 to 3.13, where they are installed
	@$(BIN)/python tests/pythons.py $(SIDE_BY_SIDE)

test-system: root setup-test catalog  ## the tests with real engines and containers
	@$(PYTEST) -q $(SIDE_BY_SIDE) -m "not heavy" tests/system tests/faults tests/clients

test-heavy: root setup-test  ## the long ones: many crashes, many requests, a clean machine
	@$(BIN)/python -m tests.catalog --all
	@$(PYTEST) -m heavy tests

test-guest: root setup-test  ## system tests in a guest with systemd, cgroup v2 and AppArmor
	@$(PYTHON) setup/machine.py package
	@$(BIN)/python tests/support/guest.py

lint: setup-test ## format, lint, types, layering, language
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports && $(BIN)/python lint/check.py && $(BIN)/python lint/commit.py

format:          ## rewrite the sources as `make lint` wants them
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: root setup-test ## measure against dockerd, where it is installed
	@$(BIN)/python -m bench

deb: setup-test  ## build Debian packages into build: darse, and darse-docker for docker's names and socket
	@$(PYTHON) setup/machine.py package
	@$(PYTHON) setup/deb.py

docs: setup-test ## check the documentation's links and examples, and write manual pages into build/man
	@$(BIN)/python docs/check.py
	@$(BIN)/python -m darse.cli.command_line.man build/man/man1
	@$(BIN)/python -m darse.engine.configuration.manual build/man
	@$(BIN)/python -m darse.engine.configuration.manual --markdown > docs/options.md

constraints: setup-test ## take the latest versions of Python packages into constraints.txt
	@$(BIN)/python setup/constraints.py

protocols: setup-test ## generate the messages of gRPC anew
	@$(BIN)/python setup/protocols.py

clean:           ## remove what the set-up and the tests made in this directory
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage* build dist
	@find . -name __pycache__ -prune -exec rm -rf {} + ; rm -rf src/*.egg-info
	@$(PYTHON) setup/what_stays.py
