# Every target is a script of the same name in scripts/, for people without make.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test lint unit role doctor bench bench-check bench-fleet torture vm reliability docs lock

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1	\2/p' Makefile | expand -t 26

demo: ## a server in a container, made by the unchanged site.yml over ssh; OS=debian12 chooses another system
	@scripts/demo

demo-down: ## remove it
	@scripts/demo-down

test: ## lint, unit tests, all scenarios; LONG=1 leaves none out, ONLINE=1 uses the real installers
	@scripts/test

lint: ## ansible-lint, yamllint, ruff, shellcheck
	@scripts/lint

unit: ## unit tests only
	@scripts/unit

role: ## one scenario: make role R=ssh OS=debian12
	@scripts/scenario "$(R)"

doctor: ## ask a live host whether its promises hold: make doctor H=fenton [JSON=1]
	@scripts/doctor "$(H)" $(if $(JSON),--json)

bench: ## time first and second run, each role and the doctor, beside a plain shell script and pyinfra
	@scripts/bench

bench-check: ## count what a run that changes nothing does, against benchmarks/budget.json
	@scripts/bench-check

bench-fleet: ## time twenty servers at once
	@scripts/bench-fleet

torture: ## break runs of the whole site off in forty ways, two to three minutes each: make torture [SEED=…] [R="kill-07 disk-opt"]
	@scripts/torture $(R)

vm: ## boot a virtual machine, for quotas and mounting at boot; emulated, a quarter of an hour, or with ACCEL=kvm
	@scripts/vm

reliability: ## write docs/reliability.md from what the last tests tried
	@scripts/reliability

docs: ## write the generated parts of the READMEs
	@scripts/docs

lock: ## make the lock files anew
	@scripts/lock
