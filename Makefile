# Short names for what the scripts and CMake do. `make help` lists them.
FUZZ_SECONDS ?= 60
GOLDEN ?= tests/golden
DATA ?= ../shared/data

all: ## the program, build/nunchi
	script/packages
	script/build

demo: ## the whole job on data it makes itself, under runs/demo
	script/demo

test: ## builds and runs every test
	script/test

bench: all ## every measurement, each beside its limit
	script/bench

fuzz: ## every fuzz target for FUZZ_SECONDS (60) with clang's libFuzzer
	script/fuzz $(FUZZ_SECONDS)

test-asan: ## every test under AddressSanitizer and UndefinedBehaviorSanitizer
	BUILD=build-asan CMAKE_ARGS="-DNUNCHI_SANITIZE=address" script/test

test-tsan: ## the tests that run threads under ThreadSanitizer
	BUILD=build-tsan CMAKE_ARGS="-DNUNCHI_SANITIZE=thread" script/test -L threads

test-golden: all ## the reference outputs under GOLDEN=DIR, with pictures and tokenizers under DATA=DIR
	build/nunchi golden $(GOLDEN) --data $(DATA)

test-gpu: ## the tests named test_gpu_*
	script/test -L gpu

test-mpi: ## the tests named test_mpi_*
	script/test -L mpi

interop: ## transformers, peft, tokenizers, sentence-transformers and gguf of NUNCHI_PYTHON read what this program writes
	script/test -C Interop -L interop

clean: ## removes the build folders
	rm -rf build build-asan build-tsan build-fuzz

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile

.PHONY: all demo test bench fuzz test-asan test-tsan test-golden test-gpu test-mpi interop clean help
