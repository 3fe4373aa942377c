"""The demonstration study: synthetic patients, every pipeline step, simulated experts.

`build` runs the steps; `simulated_answers` adds annotations, an audit and a reading study. Nothing
here is used by studies of real data.
"""
