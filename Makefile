# Two commands: make serve, make test. Both install what they need into a virtual environment here.

PYTHON ?= python3
SERVE  := .venv
CHECK  := .venv-test
BENCHES := .venv-bench
CODE   := station plugins tests bench examples docs/site
# wildcard: git still lists a file that was deleted and not yet staged
SOURCES := $(wildcard $(shell git ls-files -co --exclude-standard station plugins examples/fleet examples/house_rules setup.cfg pyproject.toml))

.PHONY: serve test lint types pytest docs bench bench-lifecycle clean

serve: $(SERVE)/installed
	@exec $(SERVE)/bin/station serve --make-admin-key

test: lint types pytest

lint: $(CHECK)/installed
	$(CHECK)/bin/ruff check $(CODE)
	$(CHECK)/bin/ruff format --check $(CODE)
	$(CHECK)/bin/bandit --quiet --configfile pyproject.toml --recursive station plugins examples bench

types: $(CHECK)/installed
	$(CHECK)/bin/mypy $(CODE)

# What is broken on purpose, and what is flooded, has the machine for itself; the rest runs in parallel
pytest: $(CHECK)/wheels
	$(CHECK)/bin/pytest -m alone
	$(CHECK)/bin/pytest -m "not alone" --numprocesses logical --maxprocesses 4 --dist worksteal

# The documentation as a site, in site/: a warning or a broken link fails it
docs: $(CHECK)/installed
	@$(CHECK)/bin/python -m docs.site

# Needs wrk; takes about eighteen minutes. BENCH='--quick', or what else `python -m bench --help` names.
bench: $(BENCHES)/installed
	$(BENCHES)/bin/python -m bench $(BENCH)

bench-lifecycle: $(BENCHES)/installed
	$(BENCHES)/bin/python -m bench.lifecycle

clean:
	rm -rf $(SERVE) $(CHECK) $(BENCHES) .bench build dist site *.egg-info examples/*/build examples/*/*.egg-info

# An editable installation, for serving and for working on Station
$(SERVE)/installed: setup.cfg pyproject.toml constraints.txt
	@echo "Installing Station into $(SERVE), once; this takes about half a minute ..."
	@$(PYTHON) -m venv $(SERVE)
	@$(SERVE)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded,fast,demo]'
	@touch $@

# Station, and what it is measured against; node-oidc-provider is fetched by the bench itself, into .bench
$(BENCHES)/installed: setup.cfg pyproject.toml constraints.txt
	@echo "Installing the benchmarks into $(BENCHES), once; this takes about half a minute ..."
	@$(PYTHON) -m venv $(BENCHES)
	@$(BENCHES)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded,fast,bench]'
	@touch $@

# The tools and dependencies of the checks
$(CHECK)/installed: setup.cfg pyproject.toml constraints.txt
	@echo "Installing the checks into $(CHECK), once; this takes about a minute ..."
	@$(PYTHON) -m venv $(CHECK)
	@$(CHECK)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt '.[embedded,fast,tracing,demo,test,lint,bench,docs]'
	@touch $@

# The tests run against the built wheels, Station's and the example plugin's
$(CHECK)/wheels: $(CHECK)/installed $(SOURCES)
	@rm -rf build dist *.egg-info examples/*/build examples/*/*.egg-info
	@$(CHECK)/bin/pip wheel --quiet --disable-pip-version-check -c constraints.txt --no-deps -w dist . ./examples/fleet ./examples/house_rules
	@$(CHECK)/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps dist/*.whl
	@touch $@
