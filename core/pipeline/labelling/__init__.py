"""Labelling of the patches of mammograms, in one or several processes."""
