"""The data set of a study: patients into splits, working images into labelled patches.

Reading of archives belongs in `core.sources`, the stored tables in `core.store`.
"""
