"""Comparison of two paired proportions."""

from __future__ import annotations

from dataclasses import dataclass

import scipy

from evaluation.intervals import p_text
from evaluation.validation import whole_number


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """McNemar's test of paired proportions; all P values are two-sided.

    Attributes
    ----------
    b, c : int
        Pairs in which only the first, and only the second, is right.
    exact_p_value, mid_p_value : float
        Exact binomial and mid-p P values.
    chi_square, chi_square_p_value : float or None
        Chi-square statistic with one degree of freedom, without continuity correction.
    corrected_chi_square, corrected_p_value : float or None
        The same with Edwards' correction.
    method, unit : str
        Method and unit of analysis in words.
    reason : str or None
        Why the chi-square forms are missing.
    """

    b: int
    c: int
    exact_p_value: float
    mid_p_value: float
    chi_square: float | None
    chi_square_p_value: float | None
    corrected_chi_square: float | None
    corrected_p_value: float | None
    method: str = "McNemar, exact and mid-p, two-sided"
    unit: str = "pair, taken as independent"
    reason: str | None = None

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        if not self.b + self.c:
            return "The two agree on every pair (McNemar's test: no discordant pairs)."
        return (
            f"Discordant pairs {self.b} against {self.c}; McNemar's exact test, two-sided,"
            f" {p_text(self.exact_p_value)} (mid-p {p_text(self.mid_p_value)})."
        )


def mcnemar(b: int, c: int) -> McNemar:
    """Compare two paired proportions by McNemar's test.

    Parameters
    ----------
    b, c : int
        Numbers of discordant pairs: only the first right, only the second right.

    Returns
    -------
    McNemar
        Without chi-square forms where there are no discordant pairs.

    Raises
    ------
    ValueError
        If a count is not a whole number of at least 0.

    Notes
    -----
    Exact: two-sided binomial test of min(b, c) among b + c with probability 1/2. Mid-p:
    2 P(X <= min) - P(X = min). Edwards' corrected statistic is 0 where b = c, as in R.

    Checked against: R 4.2 `mcnemar.test` and `binom.test` (1e-9 relative).

    References
    ----------
    Fagerland MW, Lydersen S, Laake P. BMC Med Res Methodol 2013;13:91. Edwards AL. Psychometrika
    1948;13:185-187.

    Examples
    --------
    Reader against network alone on the 330 published cases:

    >>> test = mcnemar(58, 85)
    >>> round(test.exact_p_value, 4), round(test.mid_p_value, 4)
    (0.0293, 0.0241)
    """
    # whole_number also converts small numpy integers, which would overflow in sums and squares.
    b = whole_number(b, "the number of discordant pairs")
    c = whole_number(c, "the number of discordant pairs")
    n, least = b + c, min(b, c)
    # Under the null hypothesis each discordant pair favours either side with probability 1/2.
    tail = float(scipy.stats.binom.cdf(least, n, 0.5))
    # Twice the tail exceeds 1 where b = c.
    exact, mid = min(1.0, 2 * tail), float(2 * tail - scipy.stats.binom.pmf(least, n, 0.5))
    if not n:
        return McNemar(
            b=0,
            c=0,
            exact_p_value=exact,
            mid_p_value=mid,
            chi_square=None,
            chi_square_p_value=None,
            corrected_chi_square=None,
            corrected_p_value=None,
            reason="no discordant pairs: the chi-square forms do not exist",
        )
    plain, corrected = (b - c) ** 2 / n, max(0.0, abs(b - c) - 1) ** 2 / n
    return McNemar(
        b=b,
        c=c,
        exact_p_value=exact,
        mid_p_value=mid,
        chi_square=plain,
        chi_square_p_value=float(scipy.stats.chi2.sf(plain, 1)),
        corrected_chi_square=corrected,
        corrected_p_value=float(scipy.stats.chi2.sf(corrected, 1)),
    )
