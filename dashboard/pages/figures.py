"""figures."""

from __future__ import annotations

from dashboard import identity, parts

identity.require("team")
parts.page()
