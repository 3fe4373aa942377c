"""Mammogram classifiers and their interpretation: data, training, network dissection, explanations.

Examples
--------
>>> import core
>>> study = core.open_study("my-study")  # doctest: +SKIP
>>> study.units()[["name", "class", "share", "coverage"]]  # doctest: +SKIP
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.study_reader import StudyReader

# OpenMP threads that wait should sleep, not spin: beside another busy process (a server, a second
# step) spinning made a training step 13 times slower (measured on two cores: 1,247 against 93 ms).
# It must be set before torch is imported. A value that the environment sets is kept.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def open_study(path: str | Path) -> StudyReader:
    """Open a study for reading, in a notebook or script.

    Parameters
    ----------
    path : str or Path
        The study folder.

    Returns
    -------
    StudyReader
        Its methods return pandas tables: patients, patches, units, labels, explanations and, once a
        reading study is closed, answers. Nothing is written.

    Raises
    ------
    MissingStudyError
        If the folder is not a study.

    Examples
    --------
    >>> import tempfile
    >>> from core.study_folder import create_study
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = open_study(create_study(Path(folder) / "study"))
    ...     len(study.patients())
    0
    """
    # Imported here: `import core` must stay cheap, since every command does it.
    from core.study_folder import require_study
    from core.study_reader import StudyReader

    return StudyReader(require_study(Path(path)))
