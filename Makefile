# make demo   from a fresh clone to a report, in one command
# make test   everything CI runs: lint, types, import rules, tests
# make test-gpu-less   the GPU kernels at length, proven on the CPU: emulation, sanitizers, PTX, Triton
# make bench  every operator against its peers and the machine's limits
# make test DEVICE=cuda, make bench DEVICE=cuda   the GPU kernels on a GPU; an error where there is none
PYTHON ?= python3
TORCH ?= torch==2.13.0
# On a machine without a GPU, TORCH_INDEX=https://download.pytorch.org/whl/cpu saves gigabytes of CUDA libraries.
TORCH_INDEX ?=
VENV ?= .venv
# Processes of the tests. A file's tests stay in one: they share what they build.
JOBS ?= 2
# Any GPU from sm_80 on compiles this at first use; wheels and `pip install .` hold machine code for all of them.
CUDA_ARCHITECTURES ?= 80-virtual
DEVICE ?= cpu
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
CSRC := $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
NATIVE_TESTS := $(shell find tests/native tests/emulation -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
# An editable install fixes its packages when it is made: a package that comes or goes asks for another.
PACKAGES := $(shell find spinecore kernels plugins -name '__init__.py' | LC_ALL=C sort | cksum | cut -d' ' -f1)
STAMP := $(VENV)/.installed-$(PACKAGES)

.PHONY: demo test test-gpu-less lint bench bench-scaling format clean gpu-here

demo: $(STAMP)
	$(BIN)/spinecore demo -o demo-out
	@echo "report: $(CURDIR)/demo-out/index.html"

# The tests of tests/gpu on every GPU, under compute-sanitizer too where it is found.
ifeq ($(DEVICE),cuda)
test: gpu-here $(STAMP)
	$(BIN)/python -m pytest tests/gpu --device cuda
else
test: lint
	$(PYTEST) -m "not gpu_less"
endif

gpu-here:
	@nvidia-smi -L 2>/dev/null | grep -q GPU || \
	  { echo "DEVICE=cuda: nvidia-smi finds no GPU here. make test and make test-gpu-less need none." >&2; exit 1; }

# nvcc and triton (the extra of that name) are used where they are found.
test-gpu-less: $(STAMP)
	$(PYTEST) tests/emulation tests/gpu

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run -Werror $(CSRC) $(NATIVE_TESTS)

# ONLY=scse_gate,conv3x3 measures some; QUICK=1 shows the rough picture; RESUME=1 keeps what today's file has.
# DEVICE=cuda measures on the GPU, beside what benchmarks/NOTES.md predicts.
ifeq ($(DEVICE),cuda)
bench: gpu-here $(STAMP)
	$(BIN)/python benchmarks/run_gpu.py $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)
else
bench: $(VENV)/.bench
	$(BIN)/python benchmarks/run.py $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) $(if $(RESUME),--resume)
endif

# How the time grows with every size, beside the model of the cost.
bench-scaling: $(STAMP)
	$(BIN)/python benchmarks/scaling.py $(if $(ONLY),--only $(ONLY))

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CSRC) $(NATIVE_TESTS)

clean:
	rm -rf build dist demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks

# The peers.
$(VENV)/.bench: pyproject.toml | $(STAMP)
	$(BIN)/python -m pip install -q -e ".[bench]"
	touch $@

# Torch first and alone, so that what follows finds it and pulls no other build of it. Anew when the packaging or the
# native core changes.
$(STAMP): pyproject.toml CMakeLists.txt $(CSRC)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import torch" 2>/dev/null || \
	  $(BIN)/python -m pip install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/python -m pip install -q -e ".[dev]" \
	  -C "cmake.define.SPINECORE_CUDA_ARCHITECTURES=$(CUDA_ARCHITECTURES)"
	rm -f $(VENV)/.installed*
	touch $@
