# Every target does its own set-up in .venv: a machine needs Python >= 3.11 and make, nothing else.
#
#   make serve      the tour of examples/tour on http://localhost:8000 (SERVER_PORT=8001 make serve)
#   make test       all tests (ARGS="-k name" selects; PART=behaviour runs those of that folder of tests/ alone,
#                   PART=long those that have a greater length, at that length)
#   make test-all   the same on every Python >= 3.11 found on this machine
#   make check      ruff, pyright, the direction and the circles of imports; before each commit
#   make docs       the documentation as a site in build/docs; a warning is a failure
#   make dist       the sdist and the wheel in dist, tested in empty environments
#   make bench      the benchmarks (ARGS=--quick for a smoke, ARGS=--write puts the figures into docs/benchmarks.md)
#   make clean      removes all that these made
#
# PYTHON=/path/to/python chooses the interpreter of .venv.

.DEFAULT_GOAL := test
.PHONY: serve test test-all test-other test-version check check-types check-style docs dist bench clean

SHELL := /bin/sh
VENV := .venv
RUN := $(VENV)/bin/python
# servey anew each time: uv would take it from its cache, also where `make clean` has removed its built assets
SYNC := uv sync --frozen --inexact --reinstall-package servey

# uv takes the interpreter it is given: it downloads none and follows no other activated environment
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := $(VENV)
unexport VIRTUAL_ENV PYTHONHOME
# Without bytecode in .venv, every start of an interpreter compiles what it imports: of pytest for 4 s instead of 0.1 s.
unexport PYTHONDONTWRITEBYTECODE

ifeq ($(origin PYTHON),undefined)
PYTHONS := python3 python3.15 python3.14 python3.13 python3.12 python3.11 python
else
PYTHONS := $(PYTHON)
endif

serve: $(VENV)/.synced-server
	@echo "examples/tour/README.md says what there is, and who may log in"
	cd examples/tour && SERVEY_API_TITLE="$${SERVEY_API_TITLE:-Parcels}" \
	  SERVEY_PLUGINS="$${SERVEY_PLUGINS-actions.people:People}" exec ../../$(RUN) -m servey

# In CI (CI=true) tests/support/no_skips.py turns each skipped test into a failure. A process that has run its tests
# takes over tests of another one. There is one process more than the two processors of CI: some tests wait.
PYTEST := PYTHONPATH=tests PART="$(PART)" $(RUN) -m pytest -n 3 --dist worksteal -p support.no_skips $(if $(PART),-m "$(PART)")

test: $(VENV)/.synced
	$(PYTEST) $(ARGS)

test-all: test
	@for version in $(VERSIONS); do $(MAKE) --no-print-directory test-version VERSION=$$version || exit 1; done

# one more Python, the one farthest from that of .venv
test-other: $(VENV)/.synced
	@order="$(VERSIONS)"; case "$$($(RUN) -V)" in *" 3.11."*) order="$(REVERSED)";; esac; \
	for version in $$order; do \
	  if [ -n "$$($(FIND))" ]; then exec $(MAKE) --no-print-directory test-version VERSION=$$version; fi; \
	done; \
	echo "no other Python found"

# does nothing for the version of .venv, and where there is no such Python
test-version: $(VENV)/.synced
	@version=$(VERSION); python="$$($(FIND))"; [ -n "$$python" ] || exit 0; \
	echo "== Python $$version: $$python"; \
	UV_PROJECT_ENVIRONMENT=$(VENV)/other/$$version $(VENV)/bin/uv sync --frozen --quiet --python "$$python" && \
	PYTHONPATH=tests $(VENV)/other/$$version/bin/python -m pytest -n 2 --dist worksteal -p support.no_skips $(ARGS)

VERSIONS := 3.11 3.12 3.13 3.14 3.15
REVERSED := 3.15 3.14 3.13 3.12 3.11

# prints the path of Python $$version, unless .venv is of that version. Each candidate is tried: pyenv's shims are
# there for versions that are not active too.
FIND = case "$$($(RUN) -V)" in *" $$version."*) exit 0;; esac; \
	for python in "$$(command -v python$$version)" "$$HOME"/.pyenv/versions/$$version.*/bin/python; do \
	  if "$$python" -c 1 2>/dev/null; then echo "$$python"; break; fi; \
	done

check: $(VENV)/.synced
	@$(MAKE) --no-print-directory -j 2 check-types check-style

# a tenth of pyright's time is the collection of short-lived objects, unless they have more room
check-types:
	NODE_OPTIONS=--max-semi-space-size=128 $(RUN) -m pyright --threads 2

check-style:
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(RUN) -m pytest -q tests/unit/test_layers.py

docs: $(VENV)/.synced
	$(RUN) -m sphinx -c docs -b html -E -a -d build/docs-doctrees -j auto -q -W --keep-going . build/docs
	@echo "build/docs/index.html"

# what is tested is what would be published
dist: $(VENV)/.synced
	rm -rf dist
	$(VENV)/bin/uv build --quiet
	$(RUN) -m twine --no-color check --strict dist/*
	DIST=$(CURDIR)/dist $(PYTEST) tests/packaging
	@ls -l dist

bench: $(VENV)/.synced-bench
	$(RUN) -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .bench dist build src/servey/servey_starlette/assets examples/tour/.servey
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@for python in $(PYTHONS); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "servey needs Python 3.11 or newer, and none of these is: $(PYTHONS)" >&2; \
	  echo "name one: make PYTHON=/path/to/python3.13 $(MAKECMDGOALS)" >&2; exit 1; \
	fi; \
	echo "$$found -m venv $(VENV)"; \
	"$$found" -m venv $(VENV) || { rm -rf $(VENV); echo "(on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }

$(VENV)/bin/uv: | $(VENV)/bin/python
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(RUN) -m ensurepip >/dev/null
	$(RUN) -m pip install --quiet --disable-pip-version-check 'uv>=0.13,<1'

# what a sync depends on: hatch_build.py builds the assets of the browser pages from web/ into the package
SYNCED := uv.lock pyproject.toml hatch_build.py $(wildcard web/* web/src/*)

# what a user of the server has, which is a small part of what the tests need
$(VENV)/.synced-server: $(SYNCED) | $(VENV)/bin/uv
	$(VENV)/bin/$(SYNC) --no-default-groups --extra server
	@touch $@

# --inexact: a plain sync would take the benchmarks' packages, and uv, out again
$(VENV)/.synced: $(SYNCED) | $(VENV)/bin/uv
	$(VENV)/bin/$(SYNC)
	UV_PROJECT_ENVIRONMENT=$(VENV)/judge $(VENV)/bin/uv sync --frozen --quiet --python $(RUN) --only-group judge
	@touch $@ $(VENV)/.synced-server

$(VENV)/.synced-bench: $(SYNCED) | $(VENV)/bin/uv
	$(VENV)/bin/$(SYNC) --group bench
	@touch $@ $(VENV)/.synced $(VENV)/.synced-server
