# Everything that a newcomer and the continuous integration need: make demo, make test, make check.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs-ready
# Tests start hundreds of processes: each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test check slow audit wheel-test rest docs docs-serve docs-package link clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

demo: setup   ## three prompts, each painted with and without the picked adapters: demo/sheet.png, demo/index.html
	$(BIN)/velatura demo demo

test: setup   ## every test but the slow ones
	$(BIN)/pytest -q -n 2 --dist worksteal

slow: setup   ## full-size models with random weights, and long runs: minutes and gigabytes
	$(BIN)/pytest -q -m slow

check: setup link
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

link:   # static tools see the root as the package; git ignores it
	@mkdir -p .typing && ln -sfn "$(CURDIR)" .typing/velatura

# What could be missing from a wheel: modules, weights, cards, migrations, the command.
PACKED := tests/test_modules.py tests/test_cli.py tests/test_cli_find.py tests/test_cli_survey.py tests/test_settings.py \
	tests/db tests/eval/test_anchors.py tests/playground/test_cli.py tests/playground/test_demo.py tests/playground/test_library.py

wheel-test: setup   ## the built wheel, installed elsewhere: every module, every command, catalogue and demonstration
	rm -rf build dist
	$(BIN)/python -m build --quiet --wheel --no-isolation --outdir dist .
	rm -rf build && mkdir -p build/elsewhere build/run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/elsewhere dist/*.whl
	cp -r tests benchmarks pyproject.toml README.md docs build/run/
	cd build/run && PYTHONPATH="$(CURDIR)/build/elsewhere" VELATURA_WHEEL="$(CURDIR)/build/elsewhere" \
		"$(CURDIR)/$(BIN)/pytest" -q -n 2 --dist worksteal $(PACKED)
	rm -rf build

rest: setup   ## what `make wheel-test` has not run
	$(BIN)/pytest -q -n 2 --dist worksteal $(PACKED:%=--ignore=%)

audit: setup   ## known vulnerabilities in what is pinned; asks PyPI's advisory service, so it needs the network
	$(PYTHON) -m venv $(VENV)/audit && $(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip

# Kept out of `make check`: it installs two dozen packages that nothing else needs, and tests look after links and commands.
docs: $(DOCS_READY) docs-package   ## the documentation as a site: build/site/index.html; a broken link fails it
	$(BIN)/python docs/generate/settings.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(DOCS_READY) docs-package   ## the same while it is written: http://127.0.0.1:8000
	$(BIN)/python docs/generate/settings.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

docs-package:   # the package by itself: whoever walks through the root's link walks through the environment, too, and in circles
	@rm -rf build/package && mkdir -p build/package/velatura
	@for part in *.py $$(dirname */__init__.py); do ln -s "$(CURDIR)/$$part" build/package/velatura/; done

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $(DOCS_READY)

clean:
	rm -rf build dist demo velatura-demo velatura-measure velatura-experiment .typing .mypy_cache .pytest_cache .ruff_cache
