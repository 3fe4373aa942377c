"""Statistics of classifiers and reading studies, and all that is built on them.

The modules at the root, `roc` and `similarity` are pure functions on arrays. The other packages run
the reading study, query stored results, and write figures, tables and the report.
"""
