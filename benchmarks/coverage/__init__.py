"""Simulated coverage of every interval, and type I error of every test, that the product prints.

A module of this package belongs here if it lists simulations (`SIMULATIONS`) for one group of
statistics. `python -m benchmarks.coverage` runs them and writes benchmarks/COVERAGE.md.
"""
