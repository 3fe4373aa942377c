"""States of a reading study in a study folder: design, leakage check, freeze, close, score.

Only this package connects the pure functions of `evaluation.reading_study` with the store. States
cannot be skipped, every action names its version, and results are unavailable until the protocol is
closed.
"""

from __future__ import annotations

from core.store.reading.protocol_table import find_protocol
from evaluation.reading_study.workflow.candidates import (
    candidate_images,
    has_simulated_material,
    holdout_threshold,
    load_truth_by_rule,
    study_design,
)
from evaluation.reading_study.workflow.checks import check_protocol, planned_reader_codes
from evaluation.reading_study.workflow.closing import (
    close_protocol,
    unanswered_sentence,
)
from evaluation.reading_study.workflow.freezing import freeze_protocol
from evaluation.reading_study.workflow.interim_looks import (
    NextLook,
    next_look,
    take_interim_look,
    taken_looks,
)
from evaluation.reading_study.workflow.lookups import log_lookup
from evaluation.reading_study.workflow.protocols import (
    create_protocol,
    frozen_label_sentence,
    protocol_design,
)
from evaluation.reading_study.workflow.scores import (
    ClosedStudy,
    count_correct,
    load_closed_study,
    score_protocol,
)

__all__ = [
    "ClosedStudy",
    "NextLook",
    "candidate_images",
    "check_protocol",
    "close_protocol",
    "count_correct",
    "create_protocol",
    "find_protocol",
    "freeze_protocol",
    "frozen_label_sentence",
    "has_simulated_material",
    "holdout_threshold",
    "load_closed_study",
    "load_truth_by_rule",
    "log_lookup",
    "next_look",
    "planned_reader_codes",
    "protocol_design",
    "score_protocol",
    "study_design",
    "take_interim_look",
    "taken_looks",
    "unanswered_sentence",
]
