"""Mean over readers by hand: variance and degrees of freedom of each design."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

from evaluation.mrmc.reader_mean import reader_mean

VALUES = np.array([0.80, 0.85, 0.78])
# Variance of one reader .002, covariance of two readers .001.
COVARIANCE = np.full((3, 3), 0.001) + 0.001 * np.eye(3)


@pytest.mark.parametrize(
    ("design", "case_df", "total", "df"),
    [
        # The readers' values have the variance .0013; three times the covariance is .003.
        ("rrrc", np.inf, 0.0043, 0.0043**2 / (0.0013**2 / 2)),
        ("rrrc", 12.0, 0.0043, 0.0043**2 / (0.0013**2 / 2 + 0.003**2 / 12)),
        ("rrfc", np.inf, 0.0013, 2.0),
        ("frrc", np.inf, 0.002 + 2 * 0.001, np.inf),
        ("frrc", 12.0, 0.002 + 2 * 0.001, 12.0),
    ],
)
def test_each_design(design: str, case_df: float, total: float, df: float) -> None:
    got = reader_mean(VALUES, COVARIANCE, design, 0.9, case_df)
    error = np.sqrt(total / 3)
    law = scipy.stats.norm() if np.isinf(df) else scipy.stats.t(df)
    assert got.mean == pytest.approx(0.81)
    assert got.standard_error == pytest.approx(error) and got.df == pytest.approx(df)
    assert got.low == pytest.approx(0.81 - law.isf(0.05) * error)
    assert got.high == pytest.approx(0.81 + law.isf(0.05) * error)
    assert got.p_value == pytest.approx(2 * law.sf(0.81 / error))


def test_negative_covariance_between_readers_counts_as_none() -> None:
    covariance = np.full((3, 3), -0.0005) + 0.0025 * np.eye(3)
    got = reader_mean(VALUES, covariance, "rrrc", 0.95)
    assert got.standard_error == pytest.approx(np.sqrt(0.0013 / 3)) and got.df == pytest.approx(2)
