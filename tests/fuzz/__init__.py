"""Targets for atheris, a fuzzer that is guided by coverage: `make fuzz`.

It has no wheels everywhere, so it has its own requirements-fuzz.txt.
"""
