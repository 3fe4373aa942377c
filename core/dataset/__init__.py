"""Patients into splits, working images into labeled patches."""
