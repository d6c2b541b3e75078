# Two commands do everything from nothing:
#     make notebooks    run the notebooks top to bottom
#     make test         pass the tests
# Both first make an environment in .venv from requirements.lock, once.

VENV ?= .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
INSTALLER := uv
JOBS := 2
NAMES := 01_data_audit 02_augmentation_preview 03_baseline_two_conv 04_final_model 05_ablation_512 \
	06_copies 07_ten_people 08_chance_or_difference 09_claim_by_claim 10_beyond_the_report
NOTEBOOKS := $(NAMES:%=notebooks/%.ipynb)

# The first Python of 3.11 to 3.13 that answers. Choose another with `make PYTHON=...`.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.12 python3.13 python3.11 python; do \
	$$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)

# Let Python keep what it has compiled, even if it is told not to elsewhere: importing TensorFlow
# would take three times as long otherwise, in every notebook.
unexport PYTHONDONTWRITEBYTECODE

# JupyterLab would otherwise ask the network for news and newer versions.
NEWS := @jupyterlab/apputils-extension:announcements

.PHONY: setup check notebooks site slides sheets lab test bench mutants figures refresh lock clean help

help:  ## list the commands
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/ready  ## make the environment in .venv (the others call it)

$(VENV)/ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python of 3.11 to 3.13 found. Install one, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c '$(FITS)' || { echo "$(PYTHON) is not a Python of 3.11 to 3.13. Name one: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python tools/install.py $(INSTALLER)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/jupyter labextension disable --level=sys_prefix $(NEWS) >/dev/null 2>&1
	@touch $@

check: setup  ## say what is ready and what is missing
	$(BIN)/python tools/check.py

notebooks: setup  ## run the notebooks top to bottom, two at a time; the pages are in build/
	$(BIN)/python tools/run_notebooks.py --jobs $(JOBS) $(NAMES)

site: setup  ## build the course as pages with a search: build/site/index.html
	$(BIN)/sphinx-build -q -W --keep-going -c docs -d build/doctrees . build/site
	@echo "Open build/site/index.html in a browser. No network is needed."

slides: setup  ## make the slides of Part I, one hour, offline: build/slides/index.html
	$(BIN)/python tools/make_slides.py

sheets: setup  ## make the sheets to print, A4, one page each: build/sheets/
	$(BIN)/python tools/make_sheets.py

lab: setup  ## open JupyterLab on the first notebook
	$(BIN)/jupyter lab notebooks/01_data_audit.ipynb

test: setup  ## style, unit tests, and every notebook again on the fixture
	$(BIN)/ruff check
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder

bench: setup  ## time every step beside the report's way; the table is in benchmarks/
	$(BIN)/python benchmarks/bench.py

mutants: setup  ## for maintainers: plant faults in the helper; do the unit tests notice?
	$(BIN)/python experiments/mutants.py

figures: setup  ## redraw the figures of the runs that come with the course, and of the fixture
	FER_DATA=$(CURDIR)/data/fixture $(BIN)/python tools/run_notebooks.py --jobs $(JOBS) $(NAMES)

refresh: setup  ## for maintainers: notebooks in place, figures and the README's tables, on the fixture
	FER_DATA=$(CURDIR)/data/fixture $(BIN)/jupyter nbconvert --to notebook --execute --inplace \
		--ExecutePreprocessor.record_timing=False $(NOTEBOOKS)
	$(BIN)/python tools/write_readme.py

lock: setup  ## for maintainers: choose versions anew and write requirements.lock
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade \
		--fork-strategy fewest --generate-hashes --no-annotate --custom-compile-command "make lock" --output-file requirements.lock

clean:  ## remove the environment, the executed copies and the cache
	rm -rf $(VENV) build .cache
