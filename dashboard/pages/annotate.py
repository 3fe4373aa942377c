"""Annotate: an expert names units. One component fills the page."""

from __future__ import annotations

from dashboard.components import annotation
from dashboard.server import identity
from dashboard.ui import theme

identity.require("annotator")
theme.expert_frame()
annotation.mount()
