# Two commands do everything from nothing:
#     make notebooks    run the notebooks top to bottom
#     make test         pass the tests
# Both first make an environment in .venv from requirements.lock, once.
#
# tools/course.py does all the work, on Windows without make, too; `make help` lists its commands.
# Settings are variables: make notebooks NAMES="01_data_audit 06_copies" JOBS=1 VENV=/tmp/venv

COMMANDS := help setup packages check check-exercises data notebooks site slides sheets lab test \
	test-backends bench mutants figures refresh lock clean

# The first Python that answers. Choose another with `make PYTHON=/path/to/python3.12`.
PYTHON ?= $(shell for p in python3 python3.12 python3.13 python3.11 python; do \
	$$p -c '' 2>/dev/null && echo $$p && break; done)
NONE = No Python found. Install 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python3.12

.PHONY: $(COMMANDS)
.NOTPARALLEL:  # they share one environment

$(COMMANDS):
	@"$(or $(PYTHON),$(error $(NONE)))" tools/course.py $@
