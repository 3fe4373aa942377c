"""Exports of annotation tools: one module per format turns marks on images into patient plans.

Rules that the formats share, such as which patient an image belongs to, are in
`core.sources.annotation_tools.marks`.
"""
