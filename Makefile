# dcbench in short commands. Each sets up what is missing first (.venv); a second call does no set-up work again.
# GPU=1 takes TensorFlow's CUDA packages and builds Horovod with NCCL; .venv then stays so until GPU=0.

PYTHON ?= python3
NOTEBOOK ?= notebooks/05_scaling_study.ipynb
TEST_LIMIT ?= 30m
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DCBENCH_GPU := $(or $(GPU),$(DCBENCH_GPU))

.DEFAULT_GOAL := help
.PHONY: help setup study test soak bench lab doctor lint clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup:  ## only set up: virtual environment, packages, Horovod, dcbench
	@$(PYTHON) -B packaging/bootstrap.py

study: setup  ## run the main job and print the path of its report; ARGS="-p repeats 5" sets parameters
	@dcbench batch $(NOTEBOOK) $(ARGS)

test: setup lint  ## run all tests, on this machine's cores
	@timeout --foreground --kill-after=30 $(TEST_LIMIT) python -m pytest $(ARGS)

lint: setup  ## check style and types
	@ruff check
	@mypy

soak: setup  ## run the hours-long tests, and every fault
	@python -m pytest -m 'soak or fault' --timeout=0 $(ARGS)

bench: setup  ## measure dcbench's own cost as ratios, print a table and write JSON
	@python tests/benchmarks/bench.py $(ARGS)

lab: setup  ## open the workbench in JupyterLab
	@dcbench lab $(ARGS)

doctor: setup  ## tell what works here, and what to do about the rest
	@dcbench doctor $(ARGS)

clean:  ## remove what set-up and tools made here; runs and datasets under data/ stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build dcbench.egg-info
	find dcbench tests packaging -name __pycache__ -prune -exec rm -rf {} +
