"""People: who is invited in which role, their consent and progress, links that are shown once."""

from __future__ import annotations

from urllib.parse import urlsplit

import pandas as pd
import streamlit as st

from core import store
from core.errors import UserError
from core.store import participant_table
from dashboard import application
from dashboard.server import access_control, context, identity
from dashboard.ui import cached_queries, elements

identity.require("team")
elements.page()
ROLES = ("annotator", "reader", "team")


def base() -> str:
    """This server's address as the browser knows it."""
    found = urlsplit(st.context.url or "")
    return f"{found.scheme or 'http'}://{st.context.headers.get('host') or found.netloc}"


def change(code: str, what: str) -> None:
    """Invite, reissue or revoke; the new link is kept for this one showing."""
    token = participant_table.new_token()
    role = st.session_state.get("invite_role", "annotator")
    try:
        with store.write(context.current()) as con:
            if what == "invite":
                code = code.strip() or participant_table.next_code(con, role)
                participant_table.invite(con, code, role, participant_table.token_hash(token))
            elif what == "reissue":
                participant_table.reissue(con, code, participant_table.token_hash(token))
            else:
                participant_table.revoke(con, code)
    except UserError as error:
        st.session_state["people_error"] = str(error)
        return
    access_control.roster(context.current()).refresh()
    st.session_state["people_link"] = (
        None if what == "revoke" else (code, application.link(base(), token))
    )
    st.session_state["people_note"] = (
        f"The link of {code} no longer works; open pages of theirs end now."
        if what == "revoke"
        else None
    )


def invitation() -> None:
    """The form for a new person."""
    with st.container(border=True):
        first, rest = st.columns([2, 3], vertical_alignment="top")
        # Outside the form, so that the code suggested is that of the role chosen.
        role = first.segmented_control(
            "Role",
            list(ROLES),
            default="annotator",
            key="invite_role",
            help="Annotators name units, readers read blinded cases, the team sees everything.",
            required=True,
        )
        with rest.form("invite", border=False, clear_on_submit=True):
            second, third = st.columns([2, 1], vertical_alignment="bottom")
            code = second.text_input(
                "Code (empty: the next free one)",
                max_chars=32,
                placeholder=cached_queries.ask(participant_table.next_code, role or "annotator"),
                help="A code, never a name: codes are stored and exported.",
            )
            if third.form_submit_button("Invite", type="primary", width="stretch"):
                change(code, "invite")


def shown_once() -> None:
    """A new link, an error or a note, for one showing."""
    link = st.session_state.pop("people_link", None)
    error = st.session_state.pop("people_error", None)
    note = st.session_state.pop("people_note", None)
    if error:
        st.error(error)
    if note:
        st.success(note)
    if link:
        st.success(
            f"Link for {link[0]}. It is shown this once; send it now, and to this person only."
        )
        st.code(link[1], language=None)


def moments(times: pd.Series) -> pd.Series:
    """Days and times as text; nothing for what has not happened."""
    return pd.to_datetime(times).dt.strftime("%d %b, %H:%M").fillna("")


def table(frame: pd.DataFrame) -> None:
    """Everybody with progress. Nothing about how anybody answered."""
    shown = pd.DataFrame(
        {
            "Code": frame["code"],
            "Role": frame["role"],
            "Simulated": frame["simulated"],
            "Link": ["valid" if v else "none" for v in frame["link"]],
            "Consent": ["yes" if v else "" for v in frame["consented"]],
            "Experience": frame["experience"],
            "Units annotated": frame["annotated"],
            "Patches judged": frame["audited"],
            "Cases read": frame["answered"],
            "Also annotated": [
                "yes" if r == "reader" and a else ""
                for r, a in zip(frame["role"], frame["annotated"])
            ],
            "Last seen": moments(frame["last_seen"]),
            "Invited": moments(frame["made"]),
        }
    )
    config = {name: st.column_config.TextColumn(help="UTC") for name in ("Last seen", "Invited")}
    st.dataframe(
        shown.drop(columns=["Also annotated"] if not (shown["Also annotated"] != "").any() else []),
        hide_index=True,
        width="stretch",
        column_config=config,
    )


def actions(frame: pd.DataFrame) -> None:
    """New link and revoke, for one person at a time."""
    first, second, third, _ = st.columns([2, 1, 1, 3], vertical_alignment="bottom")
    code = first.selectbox("Person", list(frame["code"]), key="people_code")
    second.button(
        "New link",
        width="stretch",
        on_click=change,
        args=(code, "reissue"),
        help="Ends the old link; all answers stay.",
    )
    third.button(
        "Revoke",
        width="stretch",
        on_click=change,
        args=(code, "revoke"),
        help="Ends the link and every open page at once; all answers stay.",
    )


head = st.container()  # written last: it counts whoever is invited just now
invitation()
shown_once()
everybody = cached_queries.ask(participant_table.people)
others = everybody[everybody["code"] != application.TEAM_CODE]
with head:
    elements.heading(
        "People",
        f"{len(others)} invited; codes only, names are never stored or exported",
        simulated=bool(len(others) and others["simulated"].any()),
    )
if len(others):
    table(others)
    actions(others[~others["simulated"]] if (~others["simulated"]).any() else others)
else:
    st.info(
        "Nobody is invited yet. Invite an annotator or a reader above, or run `deepminer invite"
        " annotator` in a terminal."
    )
