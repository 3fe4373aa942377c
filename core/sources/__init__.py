"""Kinds of input.

Each module of this package named after a source offers simulated, tasks, files and read as
core.sources.records.Source says.
"""
