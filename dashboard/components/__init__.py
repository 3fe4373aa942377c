"""Components: what Streamlit has not: experts' pages, films with overlays, the gallery of units,
tiles with their place.
"""
