"""The numbers: pure functions on arrays and tables, the reading study's protocol and score,
figures, tables and the report.
"""
