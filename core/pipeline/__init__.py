"""The steps between data and explanation, each of which makes one run: patches, train, dissect,
explain, ablate.
"""
