# The two README commands: `make demo` and `make test`. Everything they need is installed on the way (scripts/setup).
include versions.env
DEFAULT_TORCH := $(shell sed -n 's/^TORCH_VERSION=//p' versions.env)
# Another torch gets folders of its own, so that trying one never costs the pinned build.
ifeq ($(TORCH_VERSION),$(DEFAULT_TORCH))
  VENV ?= .venv
  BUILD ?= build
else
  VENV ?= .venv-$(TORCH_VERSION)
  BUILD ?= build-$(TORCH_VERSION)
endif
JOBS ?= 2
export TORCH_VERSION VENV

.PHONY: demo test build configure setup format check walk
demo: configure
	cmake --build $(BUILD) -j $(JOBS) --target lamp_cli
	scripts/demo $(BUILD)/lamp demo

test: build
	ctest --test-dir $(BUILD) --output-on-failure -LE long -j $(JOBS)

build: configure
	cmake --build $(BUILD) -j $(JOBS)

configure: setup
	cmake --preset release -B $(BUILD) -DLAMP_VENV=$(abspath $(VENV)) -DLAMP_WERROR=$(or $(LAMP_WERROR),OFF)

setup:
	scripts/setup

format:
	git ls-files '*.h' '*.cpp' | xargs clang-format-14 -i

check: build
	scripts/setup --checks
	scripts/check
	scripts/tidy

# Every executable script of tests/acceptance, also after one that found something wrong.
walk: build
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-warn-conflicts $(PIP_WALK_PACKAGES)
	wrong=; for script in tests/acceptance/*.py; do \
	  if [ -x $$script ]; then $(VENV)/bin/python $$script $(BUILD)/lamp || wrong="$$wrong $$script"; fi; \
	done; [ -z "$$wrong" ] || { echo "walk: wrong:$$wrong" >&2; exit 1; }
