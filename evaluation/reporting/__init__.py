"""Figures, tables, the report and the protocol as files."""
