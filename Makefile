# Each target sets up what it needs in .venv; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test processes at once, each with servers of its own; many tests wait more than they compute.
JOBS ?= 3
READY := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install up down demo check format test fuzz kills bench bench-video-long video-table soak batch-test bench-uploads bench-peers bench-gpu gpu-test lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(READY): requirements.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Pixelmeter needs Python 3.11 or newer; name one with make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(READY)

install: $(READY) ## create .venv with the locked dependencies

up: $(READY) ## start everything on this machine and wait until it is ready
	$(BIN)/pixelmeter up --detach

down: $(READY) ## stop what `make up` started
	$(BIN)/pixelmeter down

demo: $(READY) ## real pictures and a video through HTTP, billed, with verified webhooks
	$(BIN)/pixelmeter demo

check: $(READY) ## format, lint, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(READY) ## rewrite the sources in the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: $(READY) ## the whole suite on real PostgreSQL, Redis and Celery (T=path for a part)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(T)

fuzz: $(READY) ## the ledger's properties with 10 000 examples of 50 steps each
	PIXELMETER_FUZZ_EXAMPLES=10000 $(BIN)/python -m pytest -n 0 --timeout 0 tests/billing/test_ledger_in_any_order.py

kills: $(READY) ## kill -9 of workers at 20 random moments of videos in segments (SEED=n repeats)
	PIXELMETER_KILLS=20 PIXELMETER_SEED=$(SEED) $(BIN)/python -m pytest -n 0 -s --timeout 0 tests/workers/segments/test_live_segments.py

bench: $(READY) ## every speed and memory figure as a ratio against a named baseline of the same run
	$(BIN)/python tests/bench/run.py

batch-test: $(READY) ## a batch of 200 videos, every tenth broken, through the running platform
	BATCH_VIDEOS=200 $(BIN)/python -m pytest -q -s tests/e2e/test_batches.py

bench-video-long: $(READY) ## memory and temporary disk of 10 s, 60 s and 10 min of 1080p
	$(BIN)/python tests/bench/bench_video_memory.py --size 1920x1080 --lengths 10,60,600

video-table: $(READY) ## every real video through every engine (PIXELMETER_TEST_MEDIA names them)
	PIXELMETER_EVERY_VIDEO=1 $(BIN)/python -m pytest -n $(JOBS) --timeout 1800 tests/engines/test_video_exactness.py

soak: $(READY) ## memory of a worker after 500 and after 5 000 jobs
	$(BIN)/python tests/bench/soak.py

bench-uploads: $(READY) ## 1 GiB over tus, broken ten times, three of them by kill -9 (UPLOADS="--storage s3")
	$(BIN)/python tests/bench/bench_uploads.py $(UPLOADS)

bench-peers: $(READY) ## make .peers/: what detection and faces are compared with (2 GB)
	$(BIN)/python tests/peers/make_environment.py

gpu-test: $(READY) ## the runners on a real NVIDIA device (PIXELMETER_MODEL_MIRROR names the networks)
	$(BIN)/python -m pytest -m gpu --confcutdir=tests/engines/gpu -rs -s tests/engines/gpu

bench-gpu: $(READY) ## images per second and busy share of an NVIDIA device (MODEL="a.onnx b.onnx")
	$(BIN)/python tests/bench/bench_gpu.py $(MODEL)

lock: $(READY) ## rewrite requirements.lock from setup.cfg
	$(BIN)/pip-compile --quiet --upgrade --extra demo --extra dev --extra plans --extra openvino --extra convert \
		--extra clickhouse --extra s3 --generate-hashes --no-strip-extras --allow-unsafe \
		--no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o requirements.lock setup.cfg

clean: ## remove .venv and caches; PIXELMETER_HOME stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
