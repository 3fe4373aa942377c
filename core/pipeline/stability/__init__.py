"""Repeated training: which units come back when a classifier is trained with other seeds."""

# Here, so that readers of its results do not import the network libraries.
STABILITY_KIND = "stability"
