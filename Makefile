# The two commands of README.md: `make demo` and `make test`. Both first set up .venv in the clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUFF := $(BIN)/ruff
LINT := --line-length 100 --target-version py311
# Named, since what ruff takes by default changes; quotes and dashes are prose, zip is checked by eye.
RULES := --select E4,E7,E9,F,I,B,UP,RUF --ignore RUF001,RUF002,RUF003,RUF043,B905

# Two processes, a test file at a time: most of a test's time is one thread building graphs.
PARALLEL := --numprocesses 2 --dist loadfile

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test test-jax lint format clean

# uv if it is there (seconds), pip otherwise (a minute or two).
$(VENV)/.installed: setup.cfg pyproject.toml
	@if command -v uv >/dev/null; then \
	  uv venv --clear --python $(PYTHON) $(VENV) && \
	  uv pip install --python $(BIN)/python -e '.[tensorflow,jax,test]'; \
	else \
	  $(PYTHON) -m venv --clear $(VENV) && \
	  $(BIN)/python -m pip install --disable-pip-version-check -q -e '.[tensorflow,jax,test]'; \
	fi
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/keras-cmsa synthesize data/ref_shapes
	$(BIN)/python recipes/train_unc.py --small --word-positions --run-dir runs/demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(PARALLEL)

# The model and what it is trained, measured and asked with, on another backend.
test-jax: $(VENV)/.installed
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(PARALLEL) -m "keras and not slow"

lint: $(VENV)/.installed
	$(RUFF) check $(LINT) $(RULES) .
	$(RUFF) format $(LINT) --check .

format: $(VENV)/.installed
	$(RUFF) check $(LINT) $(RULES) --fix .
	$(RUFF) format $(LINT) .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
