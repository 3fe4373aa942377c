"""Who acts: the participant of a page, or the operating system's user of a command."""

from __future__ import annotations

import os
import pwd


class Actor(str):
    """A name, with the name that was claimed where it is another one.

    It is a text, so that it can be stored and passed on wherever a name is expected.
    """

    __slots__ = ("claimed",)
    claimed: str

    def __new__(cls, name: str, claimed: str = "") -> Actor:
        """Return the actor with this name."""
        actor = super().__new__(cls, name)
        actor.claimed = claimed
        return actor


def operating_system_user() -> Actor:
    """Return the user that runs this process.

    The name is that of the process's user id. Anybody can set the variables LOGNAME and USER; what
    they say is kept as the claimed name where it differs.
    """
    user_id = os.getuid()
    try:
        name = pwd.getpwuid(user_id).pw_name
    except KeyError:  # a container may run with a user id that has no entry
        name = f"user {user_id}"
    claimed = os.environ.get("LOGNAME") or os.environ.get("USER") or ""
    return Actor(name, "" if claimed == name else claimed)
