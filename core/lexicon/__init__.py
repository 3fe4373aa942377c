"""Vocabulary of annotations: BI-RADS categories with descriptors, and the answers made of them.

Words of data archives belong in `core.sources`; storing answers belongs in `core.store`.
"""
