"""Pixels of mammograms: decoding, polarity, working images, outlines, tissue and blinded rendering.

Archives and their findings belong in `core.sources`, network inputs in `core.training`.
"""
