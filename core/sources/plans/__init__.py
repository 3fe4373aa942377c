"""Patients as an archive's tables describe them, and their reading from image files.

An importer builds plans from its tables; `core.sources.plans.reading` decodes the images.
"""
