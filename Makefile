# Everything a developer runs. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# uv is fetched into .tools, away from the system's Python, unless there is one.
UV := $(shell command -v uv || echo .tools/bin/uv)
# .python-version's Python, else the newest supported one about: a download may not be possible.
PYTHON ?= $(shell for version in 3.13 3.14 3.12 3.11; do \
  for python in python$$version "$$HOME"/.pyenv/versions/$$version.*/bin/python; do \
    "$$python" -c 'import venv, ensurepip' >/dev/null 2>&1 && { echo "$$python"; exit; }; done; done; echo 3.13)
# Whatever the caller's environment says, the project has its own.
export UV_PROJECT_ENVIRONMENT := .venv
# A virtual environment whose Python has been removed or moved is made anew.
$(shell [ ! -e .venv/installed ] || .venv/bin/python -c '' 2>/dev/null || rm -f .venv/installed)
CDK := npx --yes aws-cdk@2.1148.1
CHECKOV := $(UV) tool run --quiet checkov@3.3.30 --framework cloudformation --skip-download --compact --quiet
REVIEWED := \"aws:cdk:bundling-stacks\": [], \"email_sender\": \"a@b.invalid\", \"email_recipients\": \"a@b.invalid\"
RUN := .venv/bin/python
MUTMUT = $(abspath $(UV)) run --quiet --no-sync --project ../.. --with mutmut==3.8.1 mutmut

.PHONY: help install node run demo test soak mutants lint checkov format synth diff deploy cdk-app clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.tools/bin/uv:
	@echo 'Installing uv into .tools …'
	@$(or $(shell command -v $(PYTHON)),python3) -m venv .tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location uv

.venv/installed: pyproject.toml uv.lock | $(filter .tools/bin/uv,$(UV))
	@echo 'Installing into .venv …'
	@$(UV) sync --frozen --quiet --python $(PYTHON)
	@touch $@

install: .venv/installed ## Install everything into .venv, as uv.lock pins it

node:
	@command -v node >/dev/null || { echo "error: the CDK needs Node.js, and there is no 'node' on the PATH:" \
	  "get it from https://nodejs.org." >&2; exit 1; }

run: node install ## Run the whole stack on this machine until Ctrl-C
	@exec $(RUN) -m local run $(ARGS)

demo: node install ## Run it, deliver one request of each topic, and stop
	@exec $(RUN) -m local demo $(ARGS)

test: node lint ## Lint, type-check and run every test
	$(RUN) -m pytest

soak: node install ## Break it in tens of thousands of random steps, at every call in every way, and by killing workers
	SOAK=1 HYPOTHESIS_PROFILE=soak $(RUN) -m pytest tests/e2e/test_killed.py tests/faults

mutants: install ## Change functions/assistance in every small way, and list the changes that no test notices
	rm -rf .build/mutants
	mkdir -p .build/mutants
	cp -R functions/. local tests pyproject.toml .build/mutants
	cd .build/mutants && $(MUTMUT) run --max-children 2
	cd .build/mutants && $(MUTMUT) results

lint: install ## Lint and type-check
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

checkov: node install ## Have checkov read the template of each stage; fetches checkov
	@for stage in dev staging production; do \
	  CDK_OUTDIR=.build/checkov/$$stage CDK_CONTEXT_JSON="{\"stage\": \"$$stage\", $(REVIEWED)}" $(RUN) infra/app.py; \
	  $(CHECKOV) --file .build/checkov/$$stage/*.template.json; done

format: install ## Format the code
	$(RUN) -m ruff check --fix
	$(RUN) -m ruff format

synth: node install ## Synthesize the CloudFormation template into cdk.out
	$(CDK) synth --quiet

diff: node install ## What a deployment would change: make diff ARGS="-c stage=staging"
	$(CDK) diff $(ARGS)

deploy: node install ## Deploy to the AWS account of the current credentials: make deploy ARGS="-c stage=staging"
	$(CDK) deploy $(ARGS)

cdk-app: install
	@$(RUN) infra/app.py

clean: ## Remove what the other targets made
	rm -rf .venv .tools .local .build cdk.out .mypy_cache .ruff_cache .pytest_cache .hypothesis
