"""Pipeline steps that read images or run the network; each makes one immutable run.

`evaluation.pipeline` computes the statistics of the steps evaluate, coverage, ablate and
descriptor_association from what `predict`, `ablate` and `descriptor_overlap` return.
"""
