"""Participants: invitations by role, consent and progress, links that are shown once."""

from __future__ import annotations

from urllib.parse import urlsplit

import pandas as pd
import streamlit as st

from core import store
from core.errors import UserError
from core.store import participant_table, unit_table
from core.store.labels import assignment_table
from core.store.reading import bundle_table
from dashboard.server import context, identity, links
from dashboard.server.invitations import invitation_cache
from dashboard.ui import elements, theme
from dashboard.ui.cached_queries import cached_query
from dashboard.views.flash_messages import flash, show_flash

# In the order of the control: experts are invited most often.
_INVITED_ROLES = ("annotator", "reader", "team")
_ROLE_STATE = "invite_role"
_LINK_STATE = "participant_link"
_ASSIGNED_STATE = "assigned_to_"


def _server_address() -> str:
    """Return the address of this server as the browser uses it."""
    url = urlsplit(st.context.url or "")
    return f"{url.scheme or 'http'}://{st.context.headers.get('host') or url.netloc}"


def _invite(code: str) -> None:
    """Invite a participant in the selected role; an empty code stands for the next free one."""
    role = st.session_state.get(_ROLE_STATE, _INVITED_ROLES[0])
    token = participant_table.new_invitation_token()
    token_hash = participant_table.hash_token(token)
    try:
        with store.write(context.served_study()) as con:
            code = code.strip() or participant_table.next_free_code(con, role)
            if role == "reader":
                bundle_table.check_reader_seat(con, code)
            participant_table.invite_participant(con, code, role, token_hash)
    except UserError as error:
        flash(str(error), error=True)
        return
    _keep_link(code, token)


def _assign(code: str) -> None:
    """Assign the selected dissections to an annotator."""
    runs = st.session_state[_ASSIGNED_STATE + code]
    user = identity.current_identity().code
    try:
        with store.write(context.served_study()) as con:
            assignment_table.assign_dissections(con, code, runs, user)
    except UserError as error:
        flash(str(error), error=True)
        return
    titles = cached_query(assignment_table.assigned_titles, code)
    flash(f"{code} names the units of {titles}; earlier answers are kept.")


def _reissue(code: str) -> None:
    """Replace the link of a participant."""
    token = participant_table.new_invitation_token()
    try:
        with store.write(context.served_study()) as con:
            participant_table.reissue_invitation(con, code, participant_table.hash_token(token))
    except UserError as error:
        flash(str(error), error=True)
        return
    _keep_link(code, token)


def _revoke(code: str) -> None:
    """End the link and the open pages of a participant."""
    try:
        with store.write(context.served_study()) as con:
            participant_table.revoke_invitations(con, code)
    except UserError as error:
        flash(str(error), error=True)
        return
    # Otherwise the link would work until the cache expires.
    invitation_cache(context.served_study()).refresh()
    st.session_state[_LINK_STATE] = None
    flash(f"The link of {code} no longer works; open pages of this participant end now.")


def _undo_revocation(code: str) -> None:
    """Make the link that was revoked last work again."""
    try:
        with store.write(context.served_study()) as con:
            participant_table.undo_revocation(con, code)
    except UserError as error:
        flash(str(error), error=True)
        return
    invitation_cache(context.served_study()).refresh()
    flash(f"The link of {code} works again.")


def _keep_link(code: str, token: str) -> None:
    """Keep a new link for the next run of the page: only the hash of its token is stored."""
    invitation_cache(context.served_study()).refresh()
    link = links.invitation_link(_server_address(), token)
    st.session_state[_LINK_STATE] = (code, link)


def _render_invitation_form() -> None:
    with st.container(border=True):
        role_column, form_column = st.columns([2, 3], vertical_alignment="top")
        # Outside the form, so that the suggested code follows the role.
        role = role_column.segmented_control(
            "Role",
            list(_INVITED_ROLES),
            default=_INVITED_ROLES[0],
            key=_ROLE_STATE,
            help="Annotators name units, readers read blinded cases, the team sees everything.",
            required=True,
        )
        with form_column.form("invite", border=False, clear_on_submit=True):
            code_column, button_column = st.columns([2, 1], vertical_alignment="bottom")
            code = code_column.text_input(
                "Code (empty: the next free one)",
                max_chars=32,
                placeholder=cached_query(
                    participant_table.next_free_code, role or _INVITED_ROLES[0]
                ),
                help="A code, never a name: codes are stored and exported.",
            )
            if button_column.form_submit_button("Invite", type="primary", width="stretch"):
                _invite(code)


def _render_messages() -> None:
    """Render an error or a message, and a new link, once."""
    show_flash()
    link = st.session_state.pop(_LINK_STATE, None)
    if link:
        code, url = link
        st.success(
            f"Link for {code}. It is shown this once; send it now, and to this participant only."
        )
        st.code(url, language=None)


def _time_texts(times: pd.Series) -> pd.Series:
    """Return days and times as text; missing times are empty."""
    return pd.to_datetime(times).dt.strftime("%d %b, %H:%M").fillna("")


def _render_participants(participants: pd.DataFrame) -> None:
    """Render codes and progress; nothing about the answers themselves."""
    also_annotated = [
        "yes" if role == "reader" and annotated else ""
        for role, annotated in zip(participants["role"], participants["annotated"])
    ]
    table = pd.DataFrame(
        {
            "Code": participants["code"],
            "Role": participants["role"],
            "Simulated": participants["simulated"],
            "Link": ["valid" if valid else "none" for valid in participants["link"]],
            "Consent": ["yes" if consented else "" for consented in participants["consented"]],
            "Experience": participants["experience"],
            "Names units of": [
                cached_query(assignment_table.assigned_titles, code)
                for code in participants["code"]
            ],
            "Units annotated": participants["annotated"],
            "Patches judged": participants["audited"],
            "Cases read": participants["answered"],
            "Also annotated": also_annotated,
            "Last seen": _time_texts(participants["last_seen"]),
            "Invited": _time_texts(participants["made"]),
        }
    )
    if not any(table["Names units of"]):
        table = table.drop(columns="Names units of")
    if not any(also_annotated):
        table = table.drop(columns="Also annotated")
    config = {name: st.column_config.TextColumn(help="UTC") for name in ("Last seen", "Invited")}
    elements.data_table(table, hide_index=True, width="stretch", column_config=config)


def _render_actions(codes: list[str]) -> None:
    """Render the buttons that replace, revoke or restore the link of one participant."""
    code_column, link_column, revoke_column, undo_column, _ = st.columns(
        [2, 1, 1, 1, 2], vertical_alignment="bottom"
    )
    code = code_column.selectbox("Participant", codes, key="participant_code")
    link_column.button(
        "New link",
        width="stretch",
        on_click=_reissue,
        args=(code,),
        help="Ends the old link; all answers are kept.",
    )
    with revoke_column.popover("Revoke", width="stretch"):
        st.caption(
            f"The link of {code} stops working and every open page of this participant ends at"
            " once. All answers are kept, and the link can be restored."
        )
        st.button(f"Revoke the link of {code}", type="primary", on_click=_revoke, args=(code,))
    undo_column.button(
        "Undo revoke",
        width="stretch",
        on_click=_undo_revocation,
        args=(code,),
        disabled=not code or not cached_query(participant_table.has_revoked_link_only, code),
        help="The link that was revoked last works again.",
    )


def _render_assignment(annotators: list[str]) -> None:
    """Render the networks and layers of one annotator, where the study has several."""
    titles = {one.run: one.title for one in cached_query(unit_table.list_dissections)}
    if len(titles) < 2 or not annotators:
        return
    elements.section_heading(
        "Who names what", "an assignment stays when a newer network is dissected"
    )
    code_column, runs_column, button_column = st.columns([2, 6, 1], vertical_alignment="bottom")
    code = code_column.selectbox("Annotator", annotators, key="assigned_code")
    runs_column.multiselect(
        "Networks and layers",
        list(titles),
        default=cached_query(assignment_table.assigned_dissections, code),
        format_func=titles.__getitem__,
        key=_ASSIGNED_STATE + code,
    )
    button_column.button("Assign", type="primary", width="stretch", on_click=_assign, args=(code,))


identity.require_role("team")
theme.apply_team_style()
# Written last: the heading counts a participant who is invited in this run.
_heading = st.container()
_render_invitation_form()
_render_messages()
_everyone = cached_query(participant_table.load_participants)
_participants = _everyone[_everyone["code"] != links.TEAM_CODE]
with _heading:
    elements.page_heading(
        "Participants",
        f"{len(_participants)} invited; codes only, names are never stored or exported",
        {"participants": bool(len(_participants) and _participants["simulated"].any())},
    )
if len(_participants):
    _render_participants(_participants)
    # Links of simulated experts are offered only in a study without human participants.
    _human = _participants[~_participants["simulated"]]
    _offered = _human if len(_human) else _participants
    # Last, the link that the server prints: revoking it signs out everybody who used it, and the
    # next start of the server prints a new one.
    _render_actions([*_offered["code"], links.TEAM_CODE])
    _render_assignment(list(_offered.loc[_offered["role"] == "annotator", "code"]))
else:
    st.info(
        "No participants yet. Invite an annotator or a reader above, or run `deepminer invite"
        " annotator` in a terminal."
    )
