# Recipes for contributors; CONTRIBUTING.md explains them. `just --list` shows them.

python := ".venv-test/bin/python"

# Create the development environment
setup:
    python3 -m venv .venv-test
    {{python}} -m pip install -q -e ".[test,all]"

# Run the unit tests: no Keras, no processes, under a minute
test-fast *ARGS:
    {{python}} -m pytest -m unit {{ARGS}}

# Run every test
test *ARGS:
    {{python}} -m pytest -n 3 --dist loadfile {{ARGS}}

# Format the code and fix what the linter can fix
fix:
    {{python}} -m ruff check --fix .
    {{python}} -m ruff format .

# Check format, lint and types, as CI does
lint:
    {{python}} -m ruff check .
    {{python}} -m ruff format --check .
    {{python}} -m mypy

# Write docs/reference.md and completions/ again from the commands
generate:
    {{python}} docs/generate.py

# Run a benchmark of tests/benchmarks: just bench startup
bench NAME *ARGS:
    {{python}} tests/benchmarks/{{NAME}}.py {{ARGS}}
