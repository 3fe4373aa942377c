"""Final and first ratings of one arm: which images count, and in which order."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evaluation.reading_study.primary import arm_endpoint


def test_ratings_of_images_that_every_reader_answered_twice() -> None:
    """Of R1 image 2 lacks the final answer; of R2 image 3 the first one, and image 4 both."""
    rows = [
        ("R2", 5, "q", True, 2, 1),
        ("R1", 1, "p", False, 3, 4),
        ("R2", 1, "p", False, 5, 6),
        ("R1", 2, "p", True, np.nan, 8),
        ("R2", 2, "p", True, 9, 1),
        ("R1", 3, "q", True, 2, 2),
        ("R2", 3, "q", True, 3, np.nan),
        ("R1", 4, "q", False, 4, 4),
        ("R1", 5, "q", True, 7, 9),
    ]
    names = ["code", "case_number", "patient_id", "malignant", "answer", "unaided"]
    answers = pd.DataFrame(rows, columns=names)
    found = arm_endpoint.change_ratings(answers)
    # Final before first answers; R1 before R2; images 1 and 5.
    assert found is not None
    assert found.scores.tolist() == [[[3, 7], [5, 2]], [[4, 9], [6, 1]]]
    assert found.truth.tolist() == [False, True] and found.patients.tolist() == ["p", "q"]
    assert arm_endpoint.change_ratings(answers[answers["case_number"].between(2, 4)]) is None
    assert arm_endpoint.change_ratings(answers[:0]) is None
