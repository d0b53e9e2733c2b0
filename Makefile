# make        set up .venv and run the whole pipeline on the synthetic demo set
# make paper  only the paper's 22 classifiers and its ensembles
# make modern only the members that are newer than the paper: foundation models, linear probes, zero-shot, ensembles
# make quick  only two networks and their fusion, in under three minutes
# make test   set up .venv and run the fast tests; make test-all runs all, as CI does
# make rehearse  the paper's set-up on a handful of clips: what a full run would take, and what is missing for it
# make app    the page of stages/serve.py; make test-app tests it in a Chromium
# make dvc.yaml, make benchmark, make dag, make clean: see below

# The first Python of these that is 3.11 to 3.14.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null \
	&& echo $$python && break; done)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# With it, Python would not look for stages/scenes beside a script.
unexport PYTHONSAFEPATH

.PHONY: all paper modern quick rehearse test test-all app test-app lint benchmark dag constraints clean

# JOBS stages run at a time, by default one per core and at most 4. The threads of each are those of its command (threads
# in params.yaml). JOBS=1 on one GPU.
repro = python stages/repro.py $(if $(JOBS),--jobs $(JOBS))
demo = Unless params.yaml says otherwise: synthetic clips, untrained networks. These figures say nothing of real scenes.

all: .venv/installed dvc.yaml
	@$(repro) && if [ ! .dvc/tmp/shown -nt dvc.lock ]; then \
		dvc metrics show metrics/*/*.json && echo "$(demo)" && touch .dvc/tmp/shown; fi

paper: .venv/installed dvc.yaml
	@$(repro) 'fuse-audio_*' 'fuse-visual_*' fuse-mel_inception fuse-all_models early-detect && \
		dvc metrics show metrics/fuse/*.json && echo "$(demo)"

modern: .venv/installed dvc.yaml
	@$(repro) 'fuse-modern_*' 'predict-*-probe@*' 'predict-*-zero-shot@*' && \
		dvc metrics show metrics/*_probe/*.json metrics/*_foundation/*.json metrics/*_zero_shot/*.json \
			metrics/fuse/modern_*.json && echo "$(demo)"

# mel and InceptionV3, which the paper finds to come close to all six of its ensemble of all models.
quick: .venv/installed dvc.yaml
	@$(repro) fuse-mel_inception && \
		dvc metrics show metrics/audio_spectrogram/mel.json metrics/visual_image/InceptionV3.json \
			metrics/fuse/mel_inception-*.json && echo "$(demo)"

# Every stage of SETUP, a file such as params.yaml, on a handful of clips, one optimiser step a training: what a full run
# takes, and what is missing for it. Up to an hour on two cores; a rerun continues.
rehearse: .venv/installed
	@python stages/rehearse.py --params "$(or $(SETUP),params.paper.yaml)"

# JOBS files of tests at a time, by the same default, each test on one thread.
parallel = --numprocesses $(or $(JOBS),logical) --maxprocesses $(or $(JOBS),4) --dist loadfile

test: .venv/dev
	@echo "Running the tests but the slow ones (make test-all)."
	pytest $(parallel) -m "not slow"

test-all: .venv/dev
	@echo "Running all tests."
	pytest $(parallel)
	if pip show --quiet tensorflow; then KERAS_BACKEND=tensorflow pytest tests/test_training.py -k "not tensorflow"; fi

app: .venv/app
	python stages/serve.py

test-app: .venv/app .venv/dev
	@command -v chromium chromium-browser google-chrome >/dev/null || \
		{ echo "error: needs Chromium, such as apt-get install chromium" >&2; exit 1; }
	pytest tests/test_serve.py

# The stages that name many classifiers, by the networks and ensembles of params.yaml; the modules that scripts import.
dvc.yaml: params.yaml stages/pipeline.yaml $(shell find stages -name '*.py') | .venv/installed
	python stages/pipeline.py

lint: .venv/dev
	ruff check
	ruff format --check

# Times and memory beside those of the plain way; half an hour on two cores. VIDEOS: folders of .mp4 files.
benchmark: .venv/installed
	$(install) -r requirements-benchmarks.txt
	python benchmarks/run.py $(VIDEOS)

# The pipeline as the graph of the README.
dag: .venv/installed
	dvc dag --collapse-foreach-matrix --md

# Every version that is installed, for all Pythons and systems, from the requirements. It changes no more than it has to;
# with the file removed first, everything becomes the newest.
constraints:
	uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
		--custom-compile-command "make constraints" --output-file constraints.txt requirements*.txt

clean:
	rm -rf .venv .resume .rehearsal

install = .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.venv/installed: requirements.txt constraints.txt
	@test -n "$(PYTHON)" || { echo "error: needs Python 3.11 to 3.14; set PYTHON=..." >&2; exit 1; }
	@echo "Installing requirements.txt into .venv (a few minutes)."
	$(PYTHON) -m venv .venv
	$(install) -r requirements.txt
	@touch $@

.venv/dev: requirements-dev.txt .venv/installed
	@echo "Installing requirements-dev.txt into .venv."
	$(install) -r requirements-dev.txt
	@touch $@

.venv/app: requirements-app.txt .venv/installed
	$(install) -r requirements-app.txt
	@touch $@
