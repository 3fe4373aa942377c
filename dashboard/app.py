"""What Streamlit runs for everybody: chooses the pages of whoever asks.

A role that has no page gets a sentence.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core import settings
from core.errors import UserError
from dashboard.server import context, identity

PAGES = Path(__file__).parent / "pages"
TEAM = (
    ("overview", "Overview"),
    ("data", "Data"),
    ("performance", "Performance"),
    ("units", "Units"),
    ("explanations", "Explanations"),
    ("annotations", "Annotations"),
    ("reading_study", "Reading study"),
    ("figures", "Figures"),
    ("participants", "People"),
)
EXPERT = {"annotator": ("annotate", "Annotate"), "reader": ("read", "Read")}

who = identity.current()
# A websocket that reconnects to an old session keeps its state: never let it be somebody else's.
if st.session_state.setdefault("identity", who) != who:
    st.session_state.clear()
    st.session_state["identity"] = who

if who.role == "team":
    st.set_page_config(page_title="DeepMiner", layout="wide")
    there = [(name, title) for name, title in TEAM if (PAGES / f"{name}.py").is_file()]
    pages = [
        st.Page(PAGES / f"{name}.py", title=title, url_path=name, default=i == 0)
        for i, (name, title) in enumerate(there)
    ]
    page = st.navigation(pages, position="top")
    try:
        settings.load(context.current())  # every page's fragments rest on them too
        page.run()
    except UserError as error:  # a sentence for the team, such as a mistake in study.toml; experts' pages say nothing of the inside
        st.error(str(error))
elif who.role in EXPERT:
    name, title = EXPERT[who.role]
    st.set_page_config(page_title=title, layout="wide")
    st.navigation(
        [st.Page(PAGES / f"{name}.py", title=title, url_path=name, default=True)], position="hidden"
    ).run()
else:
    st.error(identity.FORBIDDEN)
