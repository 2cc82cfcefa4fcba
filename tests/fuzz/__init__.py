"""Targets for atheris, a coverage-guided fuzzer: `make fuzz`. It has no wheels everywhere, so only requirements-fuzz.txt has it."""
