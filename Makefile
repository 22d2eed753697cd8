# Everything starts with the set-up, which takes no time once it is done.
PORT ?= 8000
ARGS ?=
PYTHON_FILES = app workers tools benchmarks tests migrations
BIN = .venv/bin

.PHONY: help setup run test slow bench check format migrations-check faults deploy-check clean reset

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

setup: ## Make the virtual environment ready
	@sh tools/setup.sh

run: setup ## Run the whole system here (PORT=8000)
	@exec $(BIN)/python -I -S app/launch.py $$PPID 15 -- $(BIN)/python -m app.cli run --port $(PORT) $(ARGS)

# loadgroup without groups hands out one test at a time; the long ones come first (tests/conftest.py).
test: setup ## Run the tests
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow" $(ARGS)

slow: setup ## Run the tests that take long: clients of others, a whole reform, fresh installations
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m slow --ignore tests/deploy $(ARGS)

bench: setup ## Measure the promises of the design against their references
	@$(BIN)/python -m benchmarks $(ARGS)

check: setup ## Lint, types, import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(filter-out migrations,$(PYTHON_FILES))
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

migrations-check: setup ## Compare the models with the migrations on an empty database
	$(BIN)/python -m tools.check_migrations

faults: setup ## Kill parts at random moments (KILL_ROUNDS=10)
	$(BIN)/python -m pytest tests/faults $(ARGS)

deploy-check: setup ## Replay the Dockerfile in a clean directory
	$(BIN)/python -m pytest tests/deploy $(ARGS)

format: setup ## Put the code into its one form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove what tools leave behind; keeps var/ and its data
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	find $(PYTHON_FILES) -name __pycache__ -type d -prune -exec rm -rf {} +

reset: ## Remove var/: the database, the photos, the logs
	rm -rf var
