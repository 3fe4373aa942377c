"""Public mammography sets: one module per set turns its published layout into patient plans.

Each module states where the set takes its truth from, and cites the description of its layout.
"""
