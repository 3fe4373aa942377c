"""The HTTP server around Streamlit: access control, sign-in, identity and image routes."""
