# `make demo` and `make test` do everything on a fresh machine; both build on `make venv`.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

.PHONY: venv demo test lint docs

venv: $(INSTALLED)

# The stamp is older than pyproject.toml or constraints.txt exactly when there is something to install.
$(INSTALLED): pyproject.toml constraints.txt
	@echo "installing into $(VENV), 2.8 GB: two minutes on a fast disk, ten on a slow one"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: venv
	$(VENV)/bin/talking-points demo

# Two workers with one thread each: the tests are made for two cores.
test: export OMP_NUM_THREADS = 1
test: venv
	$(VENV)/bin/python -m pytest -n 2

lint: venv
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The site, in build/site; any warning is an error. tests/test_docs.py does this, too.
docs: venv
	$(VENV)/bin/mkdocs build
