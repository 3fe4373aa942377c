"""Browser components that Streamlit does not offer.

The experts' pages, mammograms with overlays, the gallery of units, and patches with their position.
"""
