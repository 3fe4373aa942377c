"""Steps that measure: evaluate (predictions and their statistics) and coverage (of the selected
units).
"""
