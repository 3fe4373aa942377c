"""The one exception whose text is meant for the person who made the mistake."""

from __future__ import annotations


class UserError(Exception):
    """What is wrong, where (file, line, case) and what to do, in one sentence; the command line
    prints it and exits 1.
    """
