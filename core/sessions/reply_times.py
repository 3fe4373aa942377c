"""Times at which replies to a reader leave the server.

A reply that leaves as soon as it is ready takes longer where more is read, rendered or encoded for
it. Replies to readers therefore leave at multiples of `REPLY_STEP_S` after the request.
"""

from __future__ import annotations

import math

REPLY_STEP_S = 0.03


def seconds_until_reply(elapsed: float) -> float:
    """Return the seconds that a reply still waits.

    Parameters
    ----------
    elapsed : float
        Seconds since the request arrived.

    Examples
    --------
    >>> round(seconds_until_reply(0.004), 3), round(seconds_until_reply(0.031), 3)
    (0.026, 0.029)
    """
    return REPLY_STEP_S * max(1, math.ceil(elapsed / REPLY_STEP_S)) - elapsed
