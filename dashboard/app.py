"""The script that Streamlit runs for every session: selects the pages by the user's role.

Users without a role get a message.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core import settings
from core.errors import UserError
from dashboard.server import context, identity
from dashboard.ui import elements

_PAGE_FOLDER = Path(__file__).parent / "pages"
_TEAM_PAGES = {
    "overview": "Overview",
    "data": "Data",
    "performance": "Performance",
    "units": "Units",
    "explanations": "Explanations",
    "annotations": "Annotations",
    "reading_study": "Reading study",
    "figures": "Figures",
    "participants": "Participants",
}
_EXPERT_PAGES = {"annotator": ("annotate", "Annotate"), "reader": ("read", "Read")}

_user = identity.current_identity()
# A websocket that reconnects to an earlier session keeps that session's state, which must not
# reach another user.
if st.session_state.setdefault("identity", _user) != _user:
    st.session_state.clear()
    st.session_state["identity"] = _user

if _user.role == "team":
    st.set_page_config(page_title="DeepMiner", layout="wide")
    _pages = [
        st.Page(_PAGE_FOLDER / f"{name}.py", title=title, url_path=name, default=i == 0)
        for i, (name, title) in enumerate(_TEAM_PAGES.items())
    ]
    _page = st.navigation(_pages, position="top")
    st.set_page_config(page_title=f"{_page.title}, DeepMiner")
    elements.sign_out_link(context.url_prefix())
    try:
        settings.load_settings(
            context.served_study()
        )  # the fragments of the pages read the settings too
        elements.page_help(_page.title)
        _page.run()
    except UserError as error:
        # Such as a mistake in study.toml. Only the team sees it: it can contain paths.
        st.error(str(error))
elif _user.role in _EXPERT_PAGES:
    _name, _title = _EXPERT_PAGES[_user.role]
    st.set_page_config(page_title=_title, layout="wide")
    _page = st.Page(_PAGE_FOLDER / f"{_name}.py", title=_title, url_path=_name, default=True)
    st.navigation([_page], position="hidden").run()
else:
    st.error(identity.FORBIDDEN)
