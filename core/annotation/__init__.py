"""Labels of units outside the annotation page: import and export of files, and simulated experts.

The annotation session belongs in `core.sessions`, the lexicon in `core.lexicon`.
"""
