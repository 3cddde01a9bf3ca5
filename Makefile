# Every target makes the virtual environment it needs. Only Python 3.11 or later, git and make are expected of the machine.

VENV := .venv
BIN := $(VENV)/bin
SOURCES := graphc tools $(wildcard backends/graphc_*) $(wildcard frontends/graphc_*)

# The first of these that is new enough; name another with `make PYTHON=...`.
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(CANDIDATES); do "$$p" -c '$(NEW_ENOUGH)' 2>/dev/null && { command -v "$$p"; break; }; done)

.PHONY: test-gpu test-gpu-emulated train test test-all test-avx2 onnx-report fuzz check format bless wheel-test bench venv clean

train: $(VENV)/.examples ## train a network on handwritten digits
	$(BIN)/python examples/digits_mlp.py

test: $(VENV)/.dev ## the tests that take seconds
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=10 -m "not slow"

test-all: $(VENV)/.dev $(VENV)/.peers ## all tests, also those that compare with PyTorch and JAX
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=20
	$(IN_PLACE_OF_CPU)

# What depends on the width of vectors most.
AVX2_TESTS := $(wildcard tests/backends/test_contraction*.py) tests/backends/test_llvm_rows.py tests/execution/test_packs.py \
	tests/mutants tests/test_samples.py

test-avx2: $(VENV)/.dev ## products, reductions and every primitive, compiled for a processor with AVX2 and no AVX-512
	GRAPHC_CPU=x86-64-v3 $(BIN)/python -m pytest -n 2 --dist worksteal --durations=10 -m "not slow" $(AVX2_TESTS)

# Tests that take a backend, and ask for cpu or for none. What among them is about the cpu backend itself is marked so.
TAKE_A_BACKEND := tests/test_samples.py tests/bfloat16 tests/complexes tests/execution tests/float16 tests/fuzz/test_fuzz.py tests/linalg \
	tests/nn tests/random tests/regressions tests/train \
	$(addprefix tests/acceptance/test_, agreement.py bad_input.py cache.py language.py same_bits.py threads.py) \
	$(addprefix tests/frontends/test_onnx_, control.py model.py opsets.py) \
	$(addprefix tests/numpy/test_, cumulative.py padding.py segments.py sorting.py) \
	$(addprefix tests/passes/test_, training_step.py updates.py) \
	$(addprefix tests/transform/test_, batching.py control.py control_batching.py custom_rules.py jacobians.py loops_batched.py vmap.py)
IN_PLACE_OF_CPU = $(BIN)/python -m pytest -n 2 --dist worksteal --in-place-of-cpu tests.emulated.backend:backend $(TAKE_A_BACKEND)

test-gpu-emulated: $(VENV)/.dev ## the CUDA backend without a card: its kernels run on the processor
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/emulated
	$(IN_PLACE_OF_CPU)

test-gpu: $(VENV)/.dev ## what needs a card, in less than five minutes; build/gpu.json says what ran on what
	$(BIN)/python -c "from benchmarks.train_step import card_facts; print(card_facts())"
	$(BIN)/python -m pip install --quiet --editable '.[cublas]'
	timeout -s INT 300 $(BIN)/python -m pytest -n 0 tests/gpu

onnx-report: $(VENV)/.dev ## the cases that ONNX ships, on the backends cpu and reference: what is skipped and why
	$(BIN)/python -m tests.frontends.onnx_report

fuzz: $(VENV)/.dev ## random graphs until every primitive was met 200 times on every dtype in every way; resumes; an hour on two idle cores
	$(BIN)/python -m tests.fuzz

check: $(VENV)/.dev ## formatting, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports

format: $(VENV)/.dev ## rewrite the sources in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bless: $(VENV)/.dev ## accept what the compiler prints now as the golden text
	$(BIN)/python -m pytest -q --bless tests

wheel-test: $(VENV)/.dev ## build the wheel, install it elsewhere, import all of it, train
	$(BIN)/python tools/wheel_test.py

RESULTS := benchmarks/results

bench: $(VENV)/.bench ## measure everything beside the peers (about 15 minutes on an idle machine), write results, table, pictures
	$(BIN)/python -m benchmarks.train_step --out $(RESULTS)/train_step.jsonl
	$(BIN)/python -m benchmarks.contraction --out $(RESULTS)/contraction.jsonl
	$(BIN)/python -m benchmarks.ops --out $(RESULTS)/ops.jsonl
	$(BIN)/python -m benchmarks.call_overhead --out $(RESULTS)/call_overhead.jsonl
	$(BIN)/python -m benchmarks.compile_time --out $(RESULTS)/compile_time.jsonl
	$(BIN)/python -m benchmarks.plot $(RESULTS)/*.jsonl --out docs
	$(BIN)/python -m benchmarks.readme_table
	$(BIN)/python -m benchmarks.check

venv: ## make the development environment again, which a new entry point needs
	rm -f $(VENV)/.dev
	$(MAKE) $(VENV)/.dev

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.examples: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[examples]'
	touch $@

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev,examples,gpu]'
	touch $@ $(VENV)/.examples

# The versions that the extra `bench` names. Without them the tests that compare with PyTorch and JAX are skipped.
PEERS := import tomllib; extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; \
	print(*(name for name in extras["bench"] if name.startswith(("torch", "jax"))))

$(VENV)/.peers: pyproject.toml | $(BIN)/python
	@missing=; for name in $$($(BIN)/python -c '$(PEERS)'); do \
		$(BIN)/python -m pip install --quiet "$$name" || missing="$$missing $$name"; \
	done; \
	if test -z "$$missing"; then touch $@; else echo "not installed:$$missing; the tests that compare with it are skipped"; fi

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "graphc needs Python 3.11 or later; none of: $(CANDIDATES). Name one with make PYTHON=..."; exit 1; }
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' || { echo "graphc needs Python 3.11 or later; $(PYTHON) is older"; exit 1; }
	"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment (on Debian and Ubuntu: install python3-venv)"; exit 1; }
