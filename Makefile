# Everything starts here. Each target does its own set-up on a fresh machine that has Python 3.11 or 3.12.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)
VENV   ?= .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready
IMAGE  ?=
WORKDIR ?= runs/quickstart
# Names may hold quotes, dollars and backticks: neither make nor the shell reads them.
override IMAGE := $(value IMAGE)
override WORKDIR := $(value WORKDIR)
export IMAGE WORKDIR

.PHONY: quickstart test parity lint clean

## one portrait to an animatable avatar, on a CPU, without a licence or a download
quickstart: $(READY)
	$(PY) -m experiments.run --flagfile=quickstart.flags $${IMAGE:+"--image=$$IMAGE"} "--workdir=$$WORKDIR"

## lint, types, layering and the whole fast suite
test: $(READY) lint
	$(PY) -m pytest -n 2 --dist loadscope -m "not slow"

lint: $(READY)
	$(VENV)/bin/ruff check zero1a_jax experiments tests
	$(VENV)/bin/ruff format --check zero1a_jax experiments tests
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/pyright --pythonpath $(PY)

## the tests against reference numbers; ZERO1A_FIXTURES=FOLDER runs them on another set
parity: $(READY)
	$(PY) -m pytest -n 2 -m parity

$(READY): constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; none was found on PATH." >&2; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --require-hashes -r constraints.txt
	$(PY) -m pip install -q --no-deps --no-build-isolation -e .
	touch $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .jax_cache
