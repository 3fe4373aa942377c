"""Breast tissue on a film."""
