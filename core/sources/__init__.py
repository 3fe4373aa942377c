"""Archives of mammograms: each module turns one archive layout into patients with findings.

Decoding of pixels belongs in `core.images`, storage in a study in `core.pipeline.ingest`. A module
named after a source implements `core.sources.records.Source`.
"""
