"""Read: an expert reads blinded texts. One component fills the page."""

from __future__ import annotations

from dashboard.components import reading
from dashboard.server import identity
from dashboard.ui import theme

identity.require("reader")
theme.expert_frame()
reading.mount()
