# The two commands of README.md: `make demo` and `make test`. Both first set up .venv in the clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUFF := $(BIN)/ruff
LINT := --line-length 100 --target-version py311
# Named, since what ruff takes by default changes; quotes and dashes are prose, zip is checked by eye.
RULES := --select E4,E7,E9,F,I,B,UP,RUF --ignore RUF001,RUF002,RUF003,RUF043,B905

# PyTorch has an environment of its own, without TensorFlow. This version has a CPU build; it is also
# the lowest that setup.cfg allows, so that test-torch tests that minimum.
TORCH := torch==2.13.0
TORCH_VENV := .venv-torch
# KerasHub without tensorflow-text, which it names and does not need here: that brings TensorFlow.
HUB := 'keras-hub>=0.32'
HUB_NEEDS := kagglehub regex sentencepiece tokenizers 'safetensors>=0.5'

# The other minimums of setup.cfg that a training needs, in an environment of their own: the model, a
# run, images read, the command line, TFDS. Those of the other extras were tested once, by hand.
LOWEST_VENV := .venv-lowest
LOWEST := $(addprefix tests/,test_imports.py models/test_cmsa.py training/test_loop.py \
  training/test_optimizers.py preprocessing/test_reading.py cli/test_main.py \
  data/refer_segmentation)

# The TensorFlow of TensorFlow Serving, in an environment of its own; the server has the second too.
SERVING_VENV := .venv-serving
SERVING := 'tensorflow==2.20.*' 'tensorflow-text==2.20.*'

# Libraries of label tools, and Triton's, in an environment of their own: one wants an older NumPy, one a
# desktop's Qt, one an older ml-dtypes.
TOOLS_VENV := .venv-tools
TOOLS := label-studio-sdk labelme supervision "tritonclient[grpc]"

# Two processes, a test file at a time: most of a test's time is one thread building graphs.
PARALLEL := --numprocesses 2 --dist loadfile
QUICK := not slow and not samples and not table
EXPORTS := tests/export
SERVED := tests/inference tests/cli tests/serving tests/presets/test_exported.py
# Only these files are read for it: reading them all takes seconds in each process.
KERAS := $(shell grep -rl 'mark\.keras' tests --include 'test_*.py')
MODEL := -m "keras and not slow and not table" $(KERAS)

# Tests in four runs, since processes grow with their tests: one run would need 10 GB, with the long
# tests more. A failure in one leaves the others to run.
define in_parts
@failed=0; \
$(BIN)/python -m pytest $(PARALLEL) -m "keras and ($(1))" $(KERAS) || failed=1; \
$(BIN)/python -m pytest $(PARALLEL) -m "not keras and ($(1))" $(EXPORTS) || failed=1; \
$(BIN)/python -m pytest $(PARALLEL) -m "not keras and ($(1))" $(SERVED) || failed=1; \
$(BIN)/python -m pytest $(PARALLEL) -m "not keras and ($(1))" \
  $(patsubst %,--ignore=%,$(EXPORTS) $(SERVED)) || failed=1; \
exit $$failed
endef

export TF_CPP_MIN_LOG_LEVEL ?= 2
# A test runs a compiled step a few times: XLA would optimise it for longer than that takes. Its older
# code for the CPU compiles twice as fast (a later XLA without the last flag says so and stops).
test test-long test-table test-jax test-lowest: export XLA_FLAGS ?= \
  --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true \
  --xla_cpu_use_fusion_emitters=false

.PHONY: demo test test-all test-long test-table test-jax test-torch test-lowest test-serving test-tools \
  test-cpus fuzz lint format docs clean

# What `make demo` and the commands after it in README.md need, and what tests need.
DEMO := tensorflow,demo,serve
ALL := tensorflow,jax,beam,test

# What the lowest versions are tested with.
LOW := tensorflow,crf,data,modeltest

# With uv if it is there (seconds), else with Python's own venv and pip (minutes).
define environment
@if command -v uv >/dev/null; then uv venv --quiet --clear --seed --python $(PYTHON) $(1); \
else $(PYTHON) -m venv --clear $(1); fi
endef

define install
@if command -v uv >/dev/null; then uv pip install --quiet --python $(1)/bin/python $(2); \
else $(1)/bin/python -m pip install --disable-pip-version-check -q $(2); fi
endef

$(VENV)/.demo: setup.cfg pyproject.toml
	$(call environment,$(VENV))
	$(call install,$(VENV),-e '.[$(DEMO)]')
	@touch $@

$(VENV)/.installed: $(VENV)/.demo
	$(call install,$(VENV),-e '.[$(ALL)]')
	@touch $@

$(TORCH_VENV)/.installed: setup.cfg pyproject.toml
	$(call environment,$(TORCH_VENV))
	$(call install,$(TORCH_VENV),'$(TORCH)' -e '.[modeltest]')
	$(call install,$(TORCH_VENV),--no-deps $(HUB))
	$(call install,$(TORCH_VENV),$(HUB_NEEDS))
	@touch $@

# `name>=minimum` becomes the constraint `name==minimum`; the installer fails where minimums exclude
# each other.
$(LOWEST_VENV)/.installed: setup.cfg pyproject.toml
	$(call environment,$(LOWEST_VENV))
	sed -nE 's/^    ([A-Za-z0-9._-]+)(\[.*\])?>=([0-9.]+).*/\1==\3/p' setup.cfg >$(LOWEST_VENV)/lowest.txt
	$(call install,$(LOWEST_VENV),--constraint $(LOWEST_VENV)/lowest.txt -e '.[$(LOW)]')
	@touch $@

$(SERVING_VENV)/.installed: Makefile
	$(call environment,$(SERVING_VENV))
	$(call install,$(SERVING_VENV),$(SERVING))
	@touch $@

$(TOOLS_VENV)/.installed: setup.cfg pyproject.toml
	$(call environment,$(TOOLS_VENV))
	$(call install,$(TOOLS_VENV),$(TOOLS) -e '.[modeltest]')
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/keras-cmsa train unc --small --system cmsa_ordered --run-dir runs/demo

# Minutes: what needs no more than the clone.
test: $(VENV)/.installed
	$(call in_parts,$(QUICK))

# All on TensorFlow but test-table, the model's quick tests on JAX and PyTorch, a choice of tests on
# the lowest versions, an export on its server's version, files of label tools by their own libraries,
# and stored numbers on the arithmetic of other CPUs.
test-all: test test-long test-jax test-torch test-lowest test-serving test-tools test-cpus

# What `make test` leaves out.
test-long: $(VENV)/.installed
	$(call in_parts,slow or samples)

# Every system in every form of a file: half an hour and 16 GB, too much for CI.
test-table: $(VENV)/.installed
	$(BIN)/python -m pytest -m table

# JAX compiles each operation by itself; each process takes what the other has compiled from a
# folder that ends with the run.
test-jax: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS := 0
test-jax: export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES := -1
test-jax: $(VENV)/.installed
	@cache=$$(mktemp -d) && trap 'rm -rf "$$cache"' EXIT && \
	KERAS_BACKEND=jax JAX_COMPILATION_CACHE_DIR="$$cache" $(BIN)/python -m pytest $(PARALLEL) $(MODEL)

test-torch: $(TORCH_VENV)/.installed
	KERAS_BACKEND=torch $(TORCH_VENV)/bin/python -m pytest $(PARALLEL) $(MODEL)

# Minutes, on TensorFlow.
test-lowest: $(LOWEST_VENV)/.installed
	$(LOWEST_VENV)/bin/python -m pytest $(PARALLEL) -m "$(QUICK)" $(LOWEST)

# A minute: an export in the TensorFlow of TensorFlow Serving, and the list of what that has.
test-serving: $(VENV)/.installed $(SERVING_VENV)/.installed
	SERVING_PYTHON=$(SERVING_VENV)/bin/python $(BIN)/python -m pytest tests/export/test_gate.py

# Seconds, after a minute or two of installing.
test-tools: $(TOOLS_VENV)/.installed
	$(TOOLS_VENV)/bin/python -m pytest tests/data/test_tool_libraries.py \
	  tests/serving/test_serving_files.py

# A CPU without AVX-512, and TensorFlow without oneDNN: rounding differs, and must decide nothing.
test-cpus: $(VENV)/.installed
	ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/python -m pytest tests/models/test_same_numbers.py
	TF_ENABLE_ONEDNN_OPTS=0 $(BIN)/python -m pytest tests/models/test_same_numbers.py

# Damaged data files, 10,000 cases by chance of each format: an hour.
fuzz: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses 2 --hypothesis-profile fuzz -k "error_or" tests/data/readers/test_fuzz.py

lint: $(VENV)/.installed
	$(RUFF) check $(LINT) $(RULES) .
	$(RUFF) format $(LINT) --check .

format: $(VENV)/.installed
	$(RUFF) check $(LINT) $(RULES) --fix .
	$(RUFF) format $(LINT) .

# Strict: a broken link or a name that is not there is an error. The variable silences an advertisement.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(VENV)-*
	rm -rf build site *.egg-info .pytest_cache .ruff_cache
