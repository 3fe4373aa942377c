"""Outlines of findings as people and programs write them: notations, masks, and limits of a film.

Filling and tracing of polygons belong in `core.images.polygons`.
"""
