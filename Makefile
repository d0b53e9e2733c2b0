# make        set up .venv and run the whole pipeline on the synthetic demo set
# make test   set up .venv and run the tests
# make app    the page of stages/serve.py; make test-app tests it in a Chromium
# make predict, make dag, make clean: see below

# The first Python of these that is 3.11 or 3.12.
PYTHON ?= $(shell for python in python3.11 python3.12 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null \
	&& echo $$python && break; done)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: all test app test-app lint predict dag clean

# Classifiers are made side by side, JOBS at a time and the largest first, each from its features to its predictions: on
# a processor, building the graph of a large network keeps one core busy for a minute. JOBS=1 where they share one GPU.
JOBS ?= 2
classifiers = dvc stage list --name-only | grep -E '^predict-(audio|visual)' | tac | \
	sed -E 's/predict-(.*)/train-\1 &/; s/train-(audio|visual)-embedding@(\w+)/embed-\1@\2 &/; \
	s/.*-spectrogram@(\w+)/spectrogram@\1 spectrogram-strict@\1 & predict-strict@\1/' | \
	xargs -L 1 -P $(JOBS) dvc --wait-for-lock repro --quiet --single-item

all: .venv/installed
	@dvc repro --dry 2>/dev/null | grep 'up to date' || { \
		echo "Running the pipeline (dvc repro), $(JOBS) classifiers at a time; what is up to date is skipped." && \
		dvc repro frames && $(classifiers) && dvc repro && dvc metrics show metrics/*/*.json && \
		echo "Synthetic clips and networks that start untrained: these figures say nothing of real scenes."; }

test: .venv/installed
	@echo "Running the tests."
	pytest

app: .venv/app
	python stages/serve.py

test-app: .venv/app
	@command -v chromium chromium-browser google-chrome >/dev/null || \
		{ echo "error: needs Chromium, such as apt-get install chromium" >&2; exit 1; }
	pytest tests/test_serve.py

lint: .venv/installed
	ruff check
	ruff format --check

# Every classifier's predictions, without the ensembles.
predict: .venv/installed
	dvc repro $$(dvc stage list --name-only | grep ^predict-)

# The pipeline as the graph of the README.
dag: .venv/installed
	dvc dag --collapse-foreach-matrix --md

clean:
	rm -rf .venv .resume

.venv/installed: requirements.txt
	@test -n "$(PYTHON)" || { echo "error: needs Python 3.11 or 3.12; set PYTHON=..." >&2; exit 1; }
	@echo "Installing requirements.txt into .venv (a few minutes)."
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/app: requirements-app.txt .venv/installed
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-app.txt
	@touch $@
