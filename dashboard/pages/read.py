"""Read: an expert reads blinded texts. One component fills the page."""

from __future__ import annotations

from dashboard.components import reading
from dashboard.server import identity
from dashboard.ui import theme

identity.require_role("reader")
theme.apply_expert_style()
reading.mount_reading()
