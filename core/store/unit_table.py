"""Units in the store: what excites them, how influential they are, what is selected, and the
explanations made of them.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pandas as pd

from core.timestamps import now

Connection = duckdb.DuckDBPyConnection


def units(con: Connection, run: str) -> pd.DataFrame:
    """layer, unit, largest, quantile, dead, top_patients of a dissect run."""
    return con.execute(
        "SELECT * EXCLUDE run FROM units WHERE run = ? ORDER BY layer, unit", [run]
    ).df()


def selected(con: Connection, run: str) -> pd.DataFrame:
    """class, rank, unit, count of a dissect run."""
    return con.execute(
        "SELECT * EXCLUDE run FROM selected WHERE run = ? ORDER BY class, rank", [run]
    ).df()


def top_patches(
    con: Connection, run: str, patches_run: str, units: list[int] | None = None, most: int = 64
) -> pd.DataFrame:
    """The first `most` top patches of these units (all if None): layer, unit, rank (from 0),
    activation, peak_y, peak_x (of the unit's map), patch_id, label, y, x, side (of the patch in the
    working image), mammogram_id, patient_id, file, width, height, split.
    """
    return con.execute(
        """
        SELECT t.layer, t.unit, t.rank, t.activation, t.y AS peak_y, t.x AS peak_x, t.patch_id, p.label, p.y, p.x, p.side, p.split, m.mammogram_id,
            m.patient_id, m.file, m.width, m.height
        FROM top_patches t JOIN patches p ON p.run = ? AND p.patch_id = t.patch_id JOIN mammograms m USING (mammogram_id)
        WHERE t.run = ? AND t.rank < ? AND (? IS NULL OR list_contains(?, t.unit)) ORDER BY t.unit, t.rank""",
        [patches_run, run, most, units, units or []],
    ).df()


def top_influences(con: Connection, run: str, top: int) -> pd.DataFrame:
    """The `top` most influential units per image and class: mammogram_id, patient_id, class, rank
    (from 1), unit, influence.
    """
    return con.execute(
        """SELECT i.mammogram_id, m.patient_id, i.class, i.rank, i.unit, i.influence FROM influences i JOIN mammograms m USING (mammogram_id)
        WHERE i.run = ? AND i.rank <= ? ORDER BY i.class, i.mammogram_id, i.rank""",
        [run, top],
    ).df()


def influences_of(con: Connection, run: str, mammogram_id: str) -> pd.DataFrame:
    """class, rank, unit, influence of one mammogram."""
    return con.execute(
        "SELECT class, rank, unit, influence FROM influences WHERE run = ? AND mammogram_id = ?"
        " ORDER BY class, rank",
        [run, mammogram_id],
    ).df()


def coverage(con: Connection, run: str) -> pd.DataFrame:
    """class, name, estimate, low, high, method, n of a coverage run."""
    return con.execute("SELECT * EXCLUDE run FROM coverage WHERE run = ?", [run]).df()


def concepts(con: Connection, run: str) -> pd.DataFrame:
    """unit, concept, share, iou: what phantom concepts a unit's top patches show (concepts run)."""
    return con.execute(
        "SELECT * EXCLUDE run FROM concepts WHERE run = ? ORDER BY unit, share DESC, iou DESC",
        [run],
    ).df()


def meanings(con: Connection, run: str, unit: int | None = None) -> pd.DataFrame:
    """unit, descriptor, contrast, auc, low, high, p, p_adjusted, iou, positives, patients of a
    meaning run.
    """
    return con.execute(
        "SELECT * EXCLUDE run FROM meanings WHERE run = ? AND (? IS NULL OR unit = ?) ORDER BY"
        " unit, descriptor",
        [run, unit, unit],
    ).df()


def measured_descriptors(con: Connection, run: str) -> list[str]:
    """Descriptors of a meaning run that have a number, by name."""
    return [
        row[0]
        for row in con.execute(
            "SELECT DISTINCT descriptor FROM meanings WHERE run = ? AND auc IS NOT NULL ORDER BY 1",
            [run],
        ).fetchall()
    ]


def ablations(con: Connection, run: str) -> pd.DataFrame:
    """class, subject, name, step, estimate, low, high, method, n of an ablate run."""
    return con.execute(
        "SELECT * EXCLUDE run FROM ablations WHERE run = ? ORDER BY class, subject, name, step",
        [run],
    ).df()


def attention(con: Connection, run: str, mammogram_id: str) -> pd.DataFrame:
    """place, source ("image" or a patient's column), value, missing, weight of one mammogram in an
    evaluate run of a network with auxiliary columns; the weights sum to one. No rows for a network
    without.
    """
    return con.execute(
        "SELECT * EXCLUDE (run, mammogram_id) FROM attention WHERE run = ? AND mammogram_id = ?"
        " ORDER BY place",
        [run, mammogram_id],
    ).df()


def explanations(con: Connection, run: str) -> pd.DataFrame:
    """mammogram_id, patient_id, laterality, view, image file and size, split, predicted,
    lesion_class, truth, scores, file of maps.
    """
    return con.execute(
        """SELECT e.* EXCLUDE run, m.patient_id, m.laterality, m.view, m.file AS film, m.width, m.height
        FROM explanations e JOIN mammograms m USING (mammogram_id) WHERE run = ? ORDER BY mammogram_id""",
        [run],
    ).df()


def image_scores(con: Connection, run: str, split: str | None = None) -> pd.DataFrame:
    """mammogram_id, patient_id, s_normal, s_benign, s_malignant, truth, predicted, split of an
    evaluate run.
    """
    return con.execute(
        """SELECT s.* EXCLUDE run, m.patient_id, m.view, m.scanner FROM image_scores s JOIN mammograms m USING (mammogram_id)
        WHERE run = ? AND (? IS NULL OR split = ?) ORDER BY mammogram_id""",
        [run, split, split],
    ).df()


def predictions(con: Connection, run: str, patches_run: str, split: str) -> pd.DataFrame:
    """patch_id, label, p_normal, p_benign, p_malignant, mammogram_id, patient_id of an evaluate
    run.
    """
    return con.execute(
        """SELECT p.patch_id, p.label, e.p_normal, e.p_benign, e.p_malignant, p.mammogram_id, m.patient_id
        FROM predictions e JOIN patches p ON p.run = ? AND p.patch_id = e.patch_id JOIN mammograms m USING (mammogram_id)
        WHERE e.run = ? AND p.split = ? ORDER BY p.patch_id""",
        [patches_run, run, split],
    ).df()


def pick_for_figure(con: Connection, run: str, mammogram_id: str, how: str, who: str) -> None:
    """Remember a case for the figures, and whether it was "random" or "hand-picked"."""
    con.execute(
        "INSERT INTO figure_picks VALUES (?, ?, ?, ?, ?)", [run, mammogram_id, how, who, now()]
    )


def figure_picks(con: Connection, run: str) -> list[dict[str, Any]]:
    """mammogram_id, how, who, made of the cases picked for figures."""
    return (
        con.execute("SELECT * EXCLUDE run FROM figure_picks WHERE run = ? ORDER BY made", [run])
        .df()
        .to_dict("records")
    )
