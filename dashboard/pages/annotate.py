"""Annotate: an expert names units. One component fills the page."""

from __future__ import annotations

from dashboard import identity, theme
from dashboard.components import annotate

identity.require("annotator")
theme.expert_frame()
annotate.mount()
