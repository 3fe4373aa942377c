"""The faces:

Streamlit pages and components, the server with its gate, and the command line. Holds no formula and
no SQL.
"""
