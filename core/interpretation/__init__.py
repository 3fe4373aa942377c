"""Interpretation of classifiers: dissection, influence, explanation, ablation, localization.

Functions here take networks, arrays and patch readers and return arrays. Steps that create runs
belong to `core.pipeline`, statistics with intervals to `evaluation`.
"""
