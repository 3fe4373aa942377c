"""The science: images in, explanations out. Knows no inference statistics and no Streamlit."""
