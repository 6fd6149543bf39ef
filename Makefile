# `make demo` and `make test` do everything on a fresh machine: both make .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
READY  := $(VENV)/.ready
SIDE_BY_SIDE := -n 3 --dist loadfile --no-loadscope-reorder  # in order, the long files of browser/ come first

.PHONY: demo web test tests check style types coverage docs elsewhere faults federated fuzz i18n kill load oldest strokes lint pictures slicer windows clean

demo: $(READY)
	$(BIN)/deepseg demo -o demo-output

web: $(READY)
	$(BIN)/deepseg web "$$($(BIN)/python -c 'from DeepSegLogic.cli.demo import demo_ct; print(demo_ct())')"

# Types are checked while the tests run: without its cache, mypy takes more than a minute.
test: style
	$(MAKE) -j 2 types tests

# Three files of tests at a time, also on two cores: most tests wait for one process or another. All of these load
# compiled modules, and glibc keeps the memory of freed tensors instead of fetching it from the system for each step.
tests: export PYTHONDONTWRITEBYTECODE =
tests: export MALLOC_TRIM_THRESHOLD_ = 1000000000
tests: $(READY)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

# The quick checks: style, spelling, types.
check: style types

style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: $(READY)
	$(BIN)/mypy

# Takes longer than the tests alone.
coverage: $(READY)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --cov --cov-report term:skip-covered

docs: $(READY)
	$(BIN)/mkdocs build --strict

# Kills every command many times; DEEPSEG_KILLS says how many, DEEPSEG_KILL_SEED when.
kill: $(READY)
	DEEPSEG_KILLS=$${DEEPSEG_KILLS:-200} $(BIN)/python -m pytest Testing/security/test_kill.py

# What goes wrong between client and server, with the cases that take longer.
faults: $(READY)
	DEEPSEG_FAULTS=1 $(BIN)/python -m pytest Testing/logic/service

# Training at several sites. Flower wants other versions of what we use, so it has an environment on top of ours.
SITES := .venv-federated
WHERE := -c "import sysconfig; print(sysconfig.get_path('purelib'))"
federated: $(READY)
	$(BIN)/python -m venv $(SITES)
	$(BIN)/python $(WHERE) > "$$($(SITES)/bin/python $(WHERE))/below.pth"
	$(SITES)/bin/python -m pip install -q -e ".[federated]" flwr==1.42.0 dp-accounting==0.6.0
	$(SITES)/bin/python -m pytest Testing/logic/training/test_federated.py Testing/logic/training/test_federated_parts.py

# The tests of the logic with the oldest packages that pyproject.toml allows; only torch is that of constraints.txt.
OLDEST := .venv-oldest
oldest: $(READY)
	$(BIN)/python -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install -q uv==0.13.9
	grep '^torch' constraints.txt > $(OLDEST)/torch.txt
	$(OLDEST)/bin/uv pip install -q --python $(OLDEST) --resolution lowest-direct --override $(OLDEST)/torch.txt -e ".[test]"
	$(OLDEST)/bin/python -m pytest -n 2 Testing/logic

# What of this works on Linux only? The processes pretend to run on Windows and macOS (Testing/elsewhere).
ELSEWHERE := $(addprefix Testing/logic/,util worker io results planning classify evaluation enhance detection cohort \
             adaptation training models/test_store.py surfaces/test_export.py) Testing/extension/test_run.py
ON_LINUX  := limit_of_the_process or as_many_threads_as_cores or too_large_a_block or array_job or real_slurm or \
             deleted_during_the_run
elsewhere: export PYTHONPATH = $(CURDIR)/Testing/elsewhere
elsewhere: $(READY)
	DEEPSEG_PRETEND=win32 $(BIN)/python -m pytest --basetemp "$$(mktemp -d)/tests" -k "not ($(ON_LINUX))" $(ELSEWHERE)
	DEEPSEG_PRETEND=darwin $(BIN)/python -m pytest $(addprefix Testing/logic/,util worker io enhance) -k "not ($(ON_LINUX))"

# Tests by Python for Windows and its packages, in Wine 10 or newer with a display: `make windows TESTS=Testing/logic/io`.
# Each file has a process of its own, as a crash of Wine ends it. Wine has no NUMA, no os.getppid, which torch's loaders
# call, and not all that newer NumPys call.
WINDOWS := .venv-windows
windows: TESTS = Testing/logic
windows: export WINEPREFIX = $(CURDIR)/$(WINDOWS)/wine
windows: export WINEDEBUG = -all
windows: export KMP_AFFINITY = disabled
windows: $(WINDOWS)/.ready
	failed=; for file in $$(find $(TESTS) -name 'test_*.py' | sort); do echo "$$file"; \
	  wine $(WINDOWS)/python.exe -m pytest -q "$$file" || failed="$$failed $$file"; \
	done; test -z "$$failed" || { echo "Failed:$$failed"; false; }

$(WINDOWS)/.ready: pyproject.toml constraints.txt Testing/elsewhere/python_for_windows.txt
	$(PYTHON) -m venv $(WINDOWS)/uv
	$(WINDOWS)/uv/bin/python -m pip install -q uv==0.13.9
	$(WINDOWS)/uv/bin/uv pip install -q --no-deps --target $(WINDOWS) -r Testing/elsewhere/python_for_windows.txt
	rm $(WINDOWS)/python312._pth  # which would hide PYTHONPATH
	$(WINDOWS)/uv/bin/uv pip install -q --target $(WINDOWS)/Lib/site-packages --no-build --python-version 3.12 \
	  --python-platform x86_64-pc-windows-msvc -c constraints.txt -r pyproject.toml --extra test 'numpy<2.1'
	printf 'Z:%s\n' $(CURDIR) $(CURDIR)/DeepSegExtension > $(WINDOWS)/Lib/site-packages/here.pth
	echo 'import os; os.getppid = lambda: __import__("psutil").Process().ppid()' > $(WINDOWS)/Lib/site-packages/wine.pth
	touch $@

# Sends many requests to a server; LOAD_REQUESTS says how many, LOAD_SECONDS over which time.
load: $(READY)
	$(BIN)/python Testing/benchmarks/server.py --requests $${LOAD_REQUESTS:-200} --seconds $${LOAD_SECONDS:-600}

# Tries thousands of random prompts; DEEPSEG_STROKES says how many, DEEPSEG_STROKES_SEED which.
strokes: $(READY)
	DEEPSEG_STROKES=$${DEEPSEG_STROKES:-3000} $(BIN)/python -m pytest Testing/logic/refinement/test_strokes.py

# For as long as one likes: make fuzz SECONDS=3600 [SEED=7]
SECONDS ?= 600
SEED    ?=
fuzz: $(READY)
	PYTHONPATH=Testing/security $(BIN)/python -m fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

# The quick checks, and what we build on: known vulnerabilities and licences.
lint: check
	$(BIN)/python Testing/security/supply.py

# README's and docs' pictures of the panel and the page: make pictures [CT=FILE] [DETECTOR=FOLDER]
# A detector is trained by Testing/reference/train_lesion_detector.py; without one, its pictures stay.
pictures: $(READY)
	PYTHONPATH=Testing $(BIN)/python Testing/tools/screenshots.py $(if $(CT),--ct $(CT))
	$(if $(DETECTOR),$(BIN)/python Testing/tools/detection_faces.py panel $(DETECTOR))
	$(if $(DETECTOR),$(BIN)/python Testing/tools/detection_faces.py page $(DETECTOR))

# In a real Slicer whose DeepSeg is set up: make slicer SLICER=/path/to/Slicer [TESTS=Testing/extension/test_run.py]
# Without a display it needs xvfb-run; for the tests beside DeepSegTest, pytest in Slicer's Python.
slicer: export DEEPSEG_PYTEST = $(TESTS)
slicer:
	$(if $(DISPLAY),,xvfb-run -a) $(SLICER) --no-splash --disable-settings \
	  --additional-module-paths "$(CURDIR)/DeepSegExtension" --python-script "$(CURDIR)/Testing/in_slicer.py"

# The template for translators, with all texts of the panel.
i18n:
	$(PYTHON) Testing/tools/translation_template.py build/DeepSeg.ts

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) $(SITES) $(OLDEST) $(WINDOWS) demo-output
