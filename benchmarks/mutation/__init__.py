"""Mutation analysis: how many small mistakes in the code the tests notice.

A mutant is a copy of the program with one small mistake, such as `<` for `<=` or two arguments
exchanged. It is noticed if a test fails. Run with `make mutants` or `python -m benchmarks.mutation
--help`; see CONTRIBUTING.md.

References
----------
DeMillo RA, Lipton RJ, Sayward FG. Hints on test data selection. Computer 1978;11(4):34-41.
Jia Y, Harman M. An analysis and survey of the development of mutation testing. IEEE Trans Softw Eng
2011;37:649-678.
"""
