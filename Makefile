# Every target is what CI and a person run; each creates .venv from the hashed lock when it is missing or stale.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# The page that `dvc plots show` fills, by .dvc/config; a checkout without the pipeline has none.
PLOTS := $(if $(wildcard pipeline/report/dvc_plots.py),.venv/plots.html)
PEERS := .venv-peers
VENDORS := .venv-vendors
SILICON := .venv-silicon
export DVC_NO_ANALYTICS := 1
.DEFAULT_GOAL := help

# Whatever would lead Python, pip or uv to another interpreter, folder or set of packages is not passed
# on; where packages come from and how the index is reached is. PYTHONDONTWRITEBYTECODE is not, either:
# without compiled bytecode every start of DVC takes 6 s instead of 3.
KEPT := PYTHONUNBUFFERED PYTHONUTF8 PYTHONIOENCODING PYTHONFAULTHANDLER \
  PIP_CONFIG_FILE PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_NO_INDEX PIP_TRUSTED_HOST PIP_CERT \
  PIP_CLIENT_CERT PIP_PROXY PIP_KEYRING_PROVIDER PIP_USE_FEATURE PIP_USE_DEPRECATED PIP_TIMEOUT \
  PIP_DEFAULT_TIMEOUT PIP_RETRIES PIP_CACHE_DIR PIP_NO_CACHE_DIR \
  UV_CONFIG_FILE UV_NO_CONFIG UV_INDEX UV_INDEX_% UV_DEFAULT_INDEX UV_EXTRA_INDEX_URL UV_FIND_LINKS UV_NO_INDEX \
  UV_OFFLINE UV_INSECURE_HOST UV_NATIVE_TLS UV_SYSTEM_CERTS UV_KEYRING_PROVIDER UV_CREDENTIALS_DIR \
  UV_HTTP_% UV_REQUEST_TIMEOUT UV_CONCURRENT_% UV_CACHE_DIR UV_NO_CACHE UV_LINK_MODE
$(foreach name,$(filter-out $(KEPT),$(filter PYTHON% PIP_% UV_% VIRTUAL_ENV CONDA_PREFIX,$(.VARIABLES))),\
  $(eval unexport $(name)))

# What a person gives beside the target is text for a program: neither make nor the shell runs what is in it.
unexport VERSION KEY DATA
define newline


endef
given = '$(subst ','\'',$(subst $(newline), ,$(value $(1))))'

# DVC keeps a database of pickles. Its default place, /var/tmp/dvc, can be written by every user, who can so
# run code at the next `dvc` of another one (SECURITY.md).
SITE := .dvc/site
export DVC_SITE_CACHE_DIR := $(CURDIR)/$(SITE)

# DVC runs stages in the user's shell, which may not be there; make's own is.
export SHELL

# In a container a user may have no name and no home that can be read or written; DVC, uv and matplotlib
# ask for them.
ifeq ($(LOGNAME)$(USER)$(LNAME)$(USERNAME),)
export USER := $(or $(shell id -un 2> /dev/null),nobody)
endif
ifeq ($(shell test -r "$$HOME" && test -x "$$HOME" || echo no),no)
export HOME := $(CURDIR)/.cache/home
else ifeq ($(shell test -w "$$HOME" || echo no),no)
export XDG_CACHE_HOME ?= $(CURDIR)/.cache
export MPLCONFIGDIR ?= $(CURDIR)/.cache/matplotlib
endif

# An environment that was moved or copied starts the programs of the folder that it was made in.
moved = $(shell [ ! -L $(1) ] && grep -qs '^command = ' $(1)/pyvenv.cfg && ! grep -qF " $(CURDIR)/$(1)" $(1)/pyvenv.cfg && echo moved-$(1))
FLOCK := $(shell command -v flock)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) $(PLOTS) ## create .venv from requirements.lock (other targets do it by themselves)

# Of two at once the second waits, and then finds the environment there. The recipe's last line says that
# it is whole: a set-up that was killed starts anew.
ifndef LOCKED
$(READY): requirements.lock pyproject.toml pipeline/pyproject.toml $(call moved,.venv) | own
	@mkdir -p .cache
	@$(if $(FLOCK),flock -n .cache/setup.lock true || echo "another make sets up .venv here: waiting for it")
	@$(if $(FLOCK),flock .cache/setup.lock) $(MAKE) --no-print-directory LOCKED=1 $(READY)
else
$(READY): requirements.lock pyproject.toml pipeline/pyproject.toml $(call moved,.venv) | own
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 13) or sys.exit(f"error: $(PYTHON) is Python {v[0]}.{v[1]}; 3.11 or 3.12 is needed: make PYTHON=python3.11 ...")'
	@echo "setting up .venv (about a minute)"
	@rm -f $(READY)
	@$(call environment,.venv)
	@awk '/^uv==/{p=1} p{print} p&&!/\\$$/{exit}' requirements.lock > .venv/uv.txt
	@$(call pip,.venv) --require-hashes -r .venv/uv.txt
	@$(UV) show -q $(HERE) uv 2> /dev/null && $(UV) install -q $(HERE) --require-hashes -r requirements.lock \
	  || $(call pip,.venv) --require-hashes -r requirements.lock
	@$(call pip,.venv) --no-deps --no-build-isolation -e . -e ./pipeline
	@touch $(READY)
endif

moved-%:
	@$(if $(LOCKED)$(filter-out .venv,$*),echo "$* was set up in another folder: it is set up anew",:)

.venv/plots.html: pipeline/report/dvc_plots.py | $(READY)
	@$(BIN)/python -m pipeline.report.dvc_plots $@

# uv finds itself only where it would install: a uv.toml can name another folder, and then pip installs.
UV := $(BIN)/uv pip
HERE := --python $(BIN)/python

own:
	@if [ -L .venv ]; then echo "error: .venv is a link to the environment of another folder; remove the link: every folder has its own" >&2; exit 1; fi

# A new, empty environment. Its pip.conf comes before the user's and takes back what leads elsewhere.
define environment
$(PYTHON) -m venv --clear $(1) && \
for section in global install; do printf '[%s]\nuser =\ntarget =\nprefix =\nroot =\npython =\n' $$section; done > $(1)/pip.conf
endef

pip = $(1)/bin/python -I -m pip install -q --disable-pip-version-check

peers-setup: $(PEERS)/.ready ## create .venv-peers: torch and the frameworks that ours is compared with

vendors-setup: $(VENDORS)/.ready ## create .venv-vendors: the chip vendors' simulators; needs Python 3.11 and a C++ compiler

silicon-setup: $(SILICON)/.ready ## create .venv-silicon: Yosys and nextpnr for FPGAs

# Nothing is built there, and nothing depends on torch.
$(SILICON)/.ready: bench/silicon/requirements.lock $(call moved,$(SILICON))
	@if [ -L $(SILICON) ]; then echo "error: $(SILICON) is a link to an environment older than $<; set it up where it is" >&2; exit 1; fi
	@echo "setting up $(SILICON) (a minute, 0.5 GB)"
	@rm -f $@ && $(call environment,$(SILICON)) && $(call pip,$(SILICON)) --no-deps --require-hashes -r $< && touch $@

$(PEERS)/.ready: bench/peers/requirements.lock $(call moved,$(PEERS))
	@$(call foreign,$(PEERS),$<)

$(VENDORS)/.ready: bench/vendors/requirements.lock $(call moved,$(VENDORS))
	@$(PYTHON) -c 'import sys; sys.version_info[:2] == (3, 11) or sys.exit("error: the vendors need Python 3.11: make PYTHON=python3.11 vendors-setup")'
	@$(call foreign,$(VENDORS),$<)

# An environment of others: what builds packages first, then the lock, each package by its hash and
# without its own dependencies, then torch by version (the locks say why). Not through a link: --clear
# would empty the environment of whoever it belongs to.
define foreign
if [ -L $(1) ]; then echo "error: $(1) is a link to an environment older than $(2); set it up where it is" >&2; exit 1; fi && \
echo "setting up $(1) (a few minutes, 1 GB; pip will say that sinabs wants other packages)" && \
rm -f $(1)/.ready && \
$(call environment,$(1)) && \
awk '/^[a-z]/{p=/^(packaging|pybind11|setuptools|setuptools-scm|wheel)==/} p' $(2) > $(1)/build.txt && \
$(call pip,$(1)) --no-deps --require-hashes -r $(1)/build.txt && \
$(call pip,$(1)) --no-deps --require-hashes --ignore-requires-python --no-build-isolation -r $(2) && \
$(call pip,$(1)) torch==2.13.0 && \
touch $(1)/.ready
endef

vendors: $(READY) $(VENDORS)/.ready ## our integer simulators against XyloSim, Lava, sinabs and SANA-FE, spike by spike
	@$(BIN)/python -m bench.vendors.compare

silicon: $(READY) $(SILICON)/.ready ## the C of the bundles on emulated Cortex-M cores, their Verilog in Icarus, Verilator, Yosys and nextpnr
	@$(BIN)/python -m bench.silicon

peers: $(READY) $(PEERS)/.ready $(VENDORS)/.ready ## every bundle through every other framework: verdicts, docs/peers.md
	@$(BIN)/python -m pipeline.interop

conformance: $(READY) ## the conformance pack for readers of NIR: conformance/
	@$(BIN)/python -m pipeline.conformance

conformance-peers: $(READY) $(PEERS)/.ready $(VENDORS)/.ready ## the pack through every other framework: the support table of docs/conformance.md
	@$(BIN)/python -m pipeline.interop.conformance

repro: $(READY) $(PLOTS) scm site ## rebuild whatever is out of date (dvc repro), stages side by side: make repro JOBS=1 for one at a time
	@$(BIN)/python -m pipeline.start $(BIN)/python -m pipeline.repro $(if $(JOBS),--jobs $(JOBS))

# DVC takes any folder above for the checkout, as git does; an archive of the project may be in none.
scm: $(READY)
	@folder="$(CURDIR)"; while [ -n "$$folder" ] && [ ! -e "$$folder/.git" ]; do folder="$${folder%/*}"; done; \
	  [ -n "$$folder" ] || grep -qs no_scm .dvc/config.local || \
	  { $(BIN)/dvc config -q --local core.no_scm true && echo "no git checkout: DVC works without, by core.no_scm in .dvc/config.local"; }

# DVC would make the folders for everybody. config.local is for `dvc` without make.
site: $(READY)
	@mkdir -p $(SITE)/repo && chmod go-w $(SITE) $(SITE)/repo
	@grep -qsxF '    site_cache_dir = $(CURDIR)/$(SITE)' .dvc/config.local || $(BIN)/dvc config -q --local core.site_cache_dir '$(CURDIR)/$(SITE)'

deploy-artifacts: repro ## verified bundles in models/<task>/deploy/<target>
	@$(BIN)/python -m pipeline.rehash
	@ls models/*/deploy/*/verify*.py | xargs -n 1 -P 2 $(BIN)/python
	@$(BIN)/python -m pipeline.lock_diff
	@$(BIN)/python -m spyx_nir summary

release: version deploy-artifacts ## archives of the bundles in release/: make release VERSION=1.2.3, KEY=file.pem to sign
	@$(BIN)/python -m pipeline release $(call given,VERSION) $(if $(value KEY),--key $(call given,KEY))

version:
	@printf '%s\n' $(call given,VERSION) | grep -Eqx '[0-9]+\.[0-9]+\.[0-9]+' || { printf 'error: VERSION=%s: three numbers are needed: make release VERSION=1.2.3\n' $(call given,VERSION) >&2; exit 1; }

test: $(READY) ## fast tests, every stage on a handful of samples
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal

test-full: $(READY) ## everything, the real pipeline included
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "full or not full"

check: $(READY) ## format, lint, types, docs/api.md, lock
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/python docs/api.py --check && sh .ci/check-lock

api: $(READY) ## docs/api.md from the docstrings
	@$(BIN)/python docs/api.py

picture: $(READY) ## docs/overview.png from what the stages wrote
	@$(BIN)/python docs/picture.py

bench-accuracy: $(READY) ## accuracy on real recordings, three seeds: make bench-accuracy DATA=folder
	@$(BIN)/python -m bench.accuracy $(if $(value DATA),$(call given,DATA),$(error DATA is missing: the folder that holds Braille/ and NMNIST/))

bench-targets: $(READY) ## accuracy lost on chips, real recordings, three seeds: make bench-targets DATA=folder
	@$(BIN)/python -m bench.targets $(if $(value DATA),$(call given,DATA),$(error DATA is missing: the folder that holds Braille/ and NMNIST/))

bench-cost: $(READY) $(PEERS)/.ready ## what the networks cost, counted by us and by NeuroBench's harness
	@$(BIN)/python -m bench.cost

bench-convert: $(READY) ## time export, file, import and runs beside spyx.nir
	@$(BIN)/python -m bench.convert --json bench/convert.json

fuzz: $(READY) ## ten minutes of damaged files and graphs
	@$(BIN)/python -m bench.fuzz --seconds 600

bench: $(READY) ## time training, inference and stages beside spyx.nn.run and the peers that are installed; growth with size; inference that follows events
	@$(BIN)/python -m bench.train --json bench/train.json
	@$(BIN)/python -m bench.growth --json bench/growth.json
	@$(BIN)/python -m bench.events --json bench/events.json
	@$(BIN)/python -m bench.stages --parts --json bench/stages.json

report: $(READY) ## one page that shows what was made: report/index.html; two revisions: make report AGAINST=REV
	@$(BIN)/python -m pipeline.report $(if $(AGAINST),--against '$(AGAINST)')

lock: $(READY) ## pin the dependencies of pyproject.toml into requirements.lock
	@sh .ci/lock requirements.lock

.PHONY: site conformance conformance-peers api picture own scm version bench-cost help setup peers-setup vendors-setup vendors silicon-setup repro deploy-artifacts release test test-full check bench bench-accuracy bench-convert fuzz lock peers silicon bench-targets report
