"""Annotate: an expert names units. One component fills the page."""

from __future__ import annotations

from dashboard.components import annotation
from dashboard.server import identity
from dashboard.ui import theme

identity.require_role("annotator")
theme.apply_expert_style()
annotation.mount_annotation()
