"""Names of the label sets that belong to no participant; no participant may have one as code."""

from __future__ import annotations

DEFAULT_SET, CONSENSUS_SET, PUBLISHED_SET = "default", "consensus", "published"
MACHINE_SET = "machine"
RESERVED_NAMES = (DEFAULT_SET, CONSENSUS_SET, PUBLISHED_SET, MACHINE_SET)
