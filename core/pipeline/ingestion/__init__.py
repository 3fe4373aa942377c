"""Parts of an ingestion: the request, staging of patients, checks, and the rows of problems.

The step that adds a source to a study is `core.pipeline.ingest`.
"""
