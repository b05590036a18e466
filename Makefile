# Every target first sets up what it needs: a virtual environment in .venv with the project installed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Locust installs gevent and a pytest plug-in: a separate environment keeps them out of the tests.
LOAD_VENV := $(VENV)/load
LOAD_STAMP := $(LOAD_VENV)/.installed
# node's ws, for the tests of WebSockets, and axe-core, for those of pages. They are skipped, with a message, where
# there is no npm to install them.
NODE_STAMP := $(VENV)/node/.installed
# The tools that build the site get one too.
DOCS_VENV := $(VENV)/docs
DOCS_STAMP := $(DOCS_VENV)/.installed
# And the one that draws the pictures of docs/bench.md.
BENCH_VENV := $(VENV)/bench
BENCH_STAMP := $(BENCH_VENV)/.installed

# Parallel test processes. Tests that wait for other processes get three more than there are cores.
CORES := $(shell nproc)
TESTERS := $(shell expr $(CORES) + 3)
# The slow ones wait about as long as they compute.
SLOW_TESTERS := $(shell expr $(CORES) + 1)
# Keep bytecode files, so that the test processes and their children do not compile everything again.
unexport PYTHONDONTWRITEBYTECODE

# The package with its hot rooms compiled, apart from the checkout, where an extension would shadow its .py.
COMPILED := build/compiled
# Tests of parts that are the same in both builds.
NEVER_COMPILED := acme admin certificates config console demo discovery docs examples loadtests prometheus sim test_cli.py
# Children import it too: -P and PYTHONSAFEPATH keep the checkout, with its plain package, off their paths.
RUN_COMPILED := EXPECT_BUILD=compiled PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(COMPILED):$(CURDIR)

.PHONY: help setup demo load docs test unit integration slow e2e lint types compiled test-compiled
.PHONY: bench bench-quick instructions faults hostile overload isolation live screenshots clean

help:  ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "the venv module is missing: on Debian, apt-get install python3-venv" >&2; exit 1; }
	@echo "installing balancer into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# --ignore-scripts: installing a package runs nothing of it.
$(NODE_STAMP): tests/node/package-lock.json | $(STAMP)
	@mkdir -p $(@D) && cp tests/node/package.json tests/node/package-lock.json $(@D)
	@! command -v npm >/dev/null || { echo "installing ws and axe-core into $(@D) ..."; \
		npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null && touch $@; }

setup: $(STAMP) $(NODE_STAMP)  ## create .venv and install the project into it

demo: $(STAMP)  ## run the balancer in front of three demo replicas (LOAD=1: under a gentle load)
	@$(BIN)/balancer demo $(if $(LOAD),--load)

# An environment below .venv with the packages of one extra of pyproject.toml, which gives it its name.
$(VENV)/load/.installed $(VENV)/docs/.installed $(BENCH_STAMP): $(VENV)/%/.installed: pyproject.toml | $(STAMP)
	@$(PYTHON) -m venv $(@D)
	@echo "installing the packages for $* into $(@D) ..."
	@$(PYTHON) -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		print(*project["optional-dependencies"]["$*"], sep="\n")' >$(@D)/requirements.txt
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $(@D)/requirements.txt
	@touch $@

load: $(LOAD_STAMP)  ## load-test the demo for 20 s, with a verdict (HOST=http://...: that host instead)
	@$(BIN)/python -m loadtests.load --locust $(LOAD_VENV)/bin/locust $(HOST)

docs: $(DOCS_STAMP)  ## build the documentation into build/site; a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --clean
	@echo "open build/site/index.html"

test: lint types unit integration slow e2e  ## lint, types and all tests

lint: $(STAMP)  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .

types: $(STAMP)  ## mypy, strict
	$(BIN)/mypy

unit: $(STAMP)  ## all fast tests in one process, on fake clocks and fake wires
	$(BIN)/pytest -q -n $(CORES) --dist worksteal -m "not (integration or slow or e2e)"

integration: $(STAMP) $(NODE_STAMP)  ## fast tests with real sockets and real processes
	$(BIN)/pytest -q -n $(TESTERS) --dist worksteal -m "integration and not (slow or e2e)"

slow: $(STAMP) $(NODE_STAMP)  ## tests that take seconds each: under load, and simulations
	$(BIN)/pytest -q -m "slow and not alone" -n $(SLOW_TESTERS) --dist worksteal
	$(BIN)/pytest -q -m "slow and alone"

e2e: $(STAMP)  ## tests with real containers under load (skipped with a message if there is no Docker)
	@$(BIN)/python -m tests.e2e.run

compiled: $(STAMP)  ## compile the hot rooms into build/compiled, 3 min, if they have changed (needs a C compiler)
	@sources=$$({ $(BIN)/python -VV; find balancer setup.py build_backend.py pyproject.toml -name '*.py' -o -name '*.toml' \
		| LC_ALL=C sort | xargs sha256sum; } | sha256sum); \
	if [ "$$sources" != "$$(cat $(COMPILED)/.sources 2>/dev/null)" ]; then \
		echo "compiling into $(COMPILED) ..." && rm -rf $(COMPILED) && \
		BUILD_COMPILED=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
			--target $(COMPILED) . && \
		echo "$$sources" >$(COMPILED)/.sources; fi

test-compiled: compiled $(NODE_STAMP)  ## fast tests of what runs compiled, and those with faults, on the compiled package
	$(RUN_COMPILED) $(BIN)/pytest -q -n $(TESTERS) --dist worksteal -o "pythonpath=$(COMPILED) ." \
		$(NEVER_COMPILED:%=--ignore=tests/%)
	$(RUN_COMPILED) $(BIN)/pytest -q -m slow -o "pythonpath=$(COMPILED) ." tests/integration/faults

bench: $(STAMP) $(if $(WRITE),$(BENCH_STAMP))  ## cost beside nginx, HAProxy, Caddy (CASE= ROUNDS= SECONDS= WRITE=1; needs wrk)
	$(BIN)/python -m loadtests.bench $(if $(CASE),--case '$(CASE)') $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(WRITE),--write docs/bench.md --pictures $(BENCH_VENV)/bin/python) $(ARGS)

bench-quick: $(STAMP)  ## the case `small` of it in under a minute
	$(BIN)/python -m loadtests.bench --case small --proxies nginx,haproxy,ours,plain --rounds 3 --seconds 2 $(ARGS)

instructions: $(STAMP)  ## CPU instructions per exchange against their bounds, 2 min (needs valgrind; ARGS=--help)
	$(BIN)/python -m loadtests.instructions $(ARGS)

faults: $(STAMP)  ## what clients notice when replicas fail, 20 min (VS=nginx,haproxy to compare; ARGS=--help)
	$(BIN)/python -m loadtests.faults $(if $(VS),--vs $(VS)) $(ARGS)

hostile: $(STAMP)  ## what good clients notice of attacks, 7 min (VS=nginx,haproxy to compare; ARGS=--help)
	$(BIN)/python -m loadtests.hostile $(if $(VS),--vs $(VS)) $(ARGS)

overload: $(STAMP)  ## what clients get under overload, 13 min (VS=nginx,haproxy to compare; ARGS=--help)
	$(BIN)/python -m loadtests.overload $(if $(VS),--vs $(VS)) $(ARGS)

isolation: $(STAMP)  ## what a pool that hangs costs the clients of another one, 4 min (ARGS=--help)
	$(BIN)/python -m loadtests.isolation $(ARGS)

live: $(STAMP)  ## what clients notice of changes of a running balancer, 15 min (VS=nginx,haproxy CASE= ARGS=--help)
	$(BIN)/python -m loadtests.live $(if $(VS),--vs $(VS)) $(if $(CASE),--case $(CASE)) $(ARGS)

screenshots: $(STAMP)  ## take the pictures of docs/dashboard.md, 3 min (needs Chromium; ARGS=--help)
	$(BIN)/python -m loadtests.screenshots $(ARGS)

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
