"""The valid invitations and ended sessions of a study, cached in the serving process."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from functools import cache
from pathlib import Path

from core import store
from core.errors import UserError
from core.store import participant_table
from core.store.participant_table import Participant
from dashboard.server.sessions import Session

RECHECK_S = 1.0


class InvitationCache:
    """The participants with a valid invitation, by token hash.

    The cache is reloaded when the store has changed, so that a revoked invitation ends its sessions
    within `RECHECK_S`, whichever process revoked it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._change_token: object = None
        self._participants: dict[str, Participant] = {}
        self._ended: frozenset[str] = frozenset()
        self._checked = 0.0

    def refresh(self) -> None:
        """Reload the invitations if the store has changed (blocking)."""
        with self._lock:
            change_token = store.change_token(self._path)
            if change_token != self._change_token:
                with store.read(self._path) as con:
                    self._participants = participant_table.valid_invitations(con)
                    self._ended = participant_table.ended_sessions(con)
                self._change_token = change_token
            self._checked = time.monotonic()

    async def _refresh_if_due(self, immediately: bool = False) -> None:
        loaded = self._change_token is not None
        if loaded and not immediately and time.monotonic() - self._checked <= RECHECK_S:
            return
        # Set before the thread starts: simultaneous requests then share one refresh. Before the
        # first load all of them wait, because an empty cache would end their sessions.
        self._checked = time.monotonic()
        try:
            await asyncio.to_thread(self.refresh)
        except UserError as error:
            if self._change_token is None:
                raise
            logging.getLogger(__name__).warning("cannot reload the invitations: %s", error)

    async def participant(self, token_hash: str, immediately: bool = False) -> Participant | None:
        """Return the participant of an invitation, or None if it is not valid.

        With `immediately` the store is checked even if that happened less than `RECHECK_S` ago.
        Raises UserError if the invitations were never loaded and the store is locked.
        """
        await self._refresh_if_due(immediately)
        return self._participants.get(token_hash)

    async def participant_of(self, session: Session | None) -> Participant | None:
        """Return the participant of a session, or None where it has ended.

        The invitation decides, not the cookie alone: a revoked one ends the session, and so does
        signing out.
        """
        participant = await self.participant(session.token_hash if session else "")
        if session is None or participant is None or participant.code != session.code:
            return None
        return None if session.name in self._ended else participant

    async def token_hash_of(self, code: str, role: str) -> str | None:
        """Return the token hash of a participant's valid invitation in a role, or None."""
        await self._refresh_if_due(immediately=True)
        invited = Participant(code, role)
        hashes = (h for h, participant in self._participants.items() if participant == invited)
        return next(hashes, None)


@cache
def invitation_cache(path: Path) -> InvitationCache:
    """Return the cache that this process shares for a study."""
    return InvitationCache(path)
