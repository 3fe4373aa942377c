"""Read: an expert reads blinded texts. One component fills the page."""

from __future__ import annotations

from dashboard import identity, theme
from dashboard.components import read

identity.require("reader")
theme.expert_frame()
read.mount()
