# `make demo` and `make test` do everything on a fresh machine: both make .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo web test lint clean

demo: $(READY)
	$(BIN)/deepseg demo -o demo-output

web: $(READY)
	$(BIN)/deepseg web "$$($(BIN)/python -c 'from DeepSegLogic.cli.demo import demo_ct; print(demo_ct())')"

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) demo-output
