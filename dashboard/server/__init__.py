"""The HTTP server around Streamlit: access control, identity, sign-in, image routes."""
