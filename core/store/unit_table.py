"""The tables of units: activations, influence, selection, top patches and explanations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from core.store import run_table
from core.store.connection import Connection, fetch_integer, fetch_records
from core.timestamps import utc_now


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One top patch of a unit, as shown to experts.

    y, x, side: its square in the working image (pixels). file, width, height: the working image.
    label: its class (0 normal).
    """

    rank: int
    patch_id: int
    mammogram_id: str
    file: str
    width: int
    height: int
    y: int
    x: int
    side: int
    label: int


@dataclass(frozen=True, kw_only=True)
class Dissection:
    """One dissection, as menus and messages name it.

    architecture: of the network, "" where it is unknown. title: network and layer, with the time
    (UTC) and the end of the run's id where two dissections would have one title.
    """

    run: str
    architecture: str
    layer: str
    made: datetime
    title: str


def list_dissections(con: Connection) -> list[Dissection]:
    """Return the dissections of the study, the one made or used last at the end."""
    rows = run_table.load_runs(con, "dissect").to_dict("records")
    networks = {row["run"]: _network_and_layer(con, row) for row in rows}
    titles = {run: ", ".join(filter(None, names)) for run, names in networks.items()}
    for row in rows:
        # All of several equal titles: a short one would seem to be the only one.
        if list(networks.values()).count(networks[row["run"]]) > 1:
            titles[row["run"]] += f", {row['made']:%d %b %H:%M}, {row['run'][-6:]}"
    return [
        Dissection(
            run=row["run"],
            architecture=networks[row["run"]][0],
            layer=networks[row["run"]][1],
            made=row["made"],
            title=titles[row["run"]],
        )
        for row in rows
    ]


def _network_and_layer(con: Connection, row: dict[str, Any]) -> tuple[str, str]:
    train = run_table.find_ancestor(con, row["run"], "train")
    architecture = run_table.load_run(con, train)["manifest"]["architecture"] if train else ""
    return architecture, row["manifest"].get("layer") or unit_layer(con, row["run"], 0)


def current_dissection(con: Connection) -> str | None:
    """Return the dissect run that was made or used last, or None.

    Annotators keep the one that they are assigned (`core.store.labels.assignment_table`).
    """
    return run_table.latest_run(con, "dissect")


def load_units(con: Connection, run: str) -> pd.DataFrame:
    """Return the units of a dissect run.

    Columns: layer, unit, largest, quantile, dead, top_patients, outside (share of the response
    outside the breast; missing in runs from before that figure).
    """
    return con.execute(
        "SELECT * EXCLUDE run FROM units WHERE run = ? ORDER BY layer, unit", [run]
    ).df()


def unit_count(con: Connection, run: str) -> int:
    """Return the number of units of a dissect run, dead ones included; indices start at 0."""
    return fetch_integer(con, "SELECT coalesce(max(unit) + 1, 0) FROM units WHERE run = ?", [run])


def unit_layer(con: Connection, run: str, unit: int) -> str:
    """Return the layer that a unit of a dissect run belongs to; "" for an unknown unit."""
    row = con.execute(
        "SELECT layer FROM units WHERE run = ? AND unit = ? LIMIT 1", [run, unit]
    ).fetchone()
    return row[0] if row else ""


def largest_activation(con: Connection, run: str, unit: int) -> float:
    """Return the largest activation of a unit; 0 for an unknown unit.

    The published threshold of a highlighted region is 0.2 of it.
    """
    row = con.execute(
        "SELECT largest FROM units WHERE run = ? AND unit = ? LIMIT 1", [run, unit]
    ).fetchone()
    return float(row[0]) if row else 0.0


def load_selected_units(con: Connection, run: str) -> pd.DataFrame:
    """Return the class lists of selected units of a dissect run: class, rank, unit, count."""
    return con.execute(
        "SELECT * EXCLUDE run FROM selected WHERE run = ? ORDER BY class, rank", [run]
    ).df()


def selected_unit_ids(con: Connection, run: str) -> list[int]:
    """Return the distinct selected units, ascending, from 0.

    A unit may be in the lists of several classes.
    """
    rows = con.execute("SELECT DISTINCT unit FROM selected WHERE run = ? ORDER BY unit", [run])
    return [row[0] for row in rows.fetchall()]


def selection_slot_count(con: Connection, run: str) -> int:
    """Return the total length of the class lists, which may exceed the number of distinct units."""
    return fetch_integer(con, "SELECT count(*) FROM selected WHERE run = ?", [run])


def practice_unit_ids(con: Connection, run: str, count: int) -> list[int]:
    """Return living units that were not selected, for practice."""
    # Ordered by a hash: fixed for a run, and independent of index, class and activation.
    rows = con.execute(
        """
        SELECT unit FROM units u
        WHERE run = ? AND NOT dead
            AND unit NOT IN (SELECT unit FROM selected s WHERE s.run = u.run)
            AND EXISTS (SELECT 1 FROM top_patches t WHERE t.run = u.run AND t.unit = u.unit)
        ORDER BY md5(run || unit::VARCHAR) LIMIT ?
        """,
        [run, count],
    )
    return [row[0] for row in rows.fetchall()]


def load_tiles(con: Connection, run: str, unit: int, count: int = 32) -> list[Tile]:
    """Return the top patches of a unit of a dissect run, strongest first."""
    cursor = con.execute(
        """
        SELECT t.rank, t.patch_id, m.mammogram_id, m.file, m.width, m.height,
            p.y, p.x, p.side, p.label
        FROM top_patches t
            JOIN patches p ON p.run = ? AND p.patch_id = t.patch_id
            JOIN mammograms m ON m.mammogram_id = p.mammogram_id
        WHERE t.run = ? AND t.unit = ? AND t.rank < ?
        ORDER BY t.rank
        """,
        [run_table.ancestor(con, run, "patches"), run, unit, count],
    )
    return fetch_records(cursor, Tile)


def load_top_patches(
    con: Connection, run: str, patches_run: str, units: list[int] | None = None, most: int = 64
) -> pd.DataFrame:
    """Return the first `most` top patches of some units (None: of all).

    Columns: layer, unit, rank (from 0), activation, peak_y, peak_x (cell of the unit's map),
    patch_id, label, y, x, side (pixels of the working image), split, mammogram_id, patient_id,
    file, width, height.
    """
    return con.execute(
        """
        SELECT t.layer, t.unit, t.rank, t.activation, t.y AS peak_y, t.x AS peak_x, t.patch_id,
            p.label, p.y, p.x, p.side, p.split,
            m.mammogram_id, m.patient_id, m.file, m.width, m.height
        FROM top_patches t
            JOIN patches p ON p.run = ? AND p.patch_id = t.patch_id
            JOIN mammograms m USING (mammogram_id)
        WHERE t.run = ? AND t.rank < ? AND (? IS NULL OR list_contains(?, t.unit))
        ORDER BY t.unit, t.rank
        """,
        [patches_run, run, most, units, units or []],
    ).df()


def load_top_influences(con: Connection, run: str, top: int) -> pd.DataFrame:
    """Return the `top` most influential units of each image and class.

    Columns: mammogram_id, patient_id, class, rank (from 1), unit, influence.
    """
    return con.execute(
        """
        SELECT i.mammogram_id, m.patient_id, i.class, i.rank, i.unit, i.influence
        FROM influences i JOIN mammograms m USING (mammogram_id)
        WHERE i.run = ? AND i.rank <= ?
        ORDER BY i.class, i.mammogram_id, i.rank
        """,
        [run, top],
    ).df()


def load_influences(con: Connection, run: str, mammogram_id: str) -> pd.DataFrame:
    """Return the influences on the scores of one mammogram: class, rank, unit, influence."""
    return con.execute(
        "SELECT class, rank, unit, influence FROM influences WHERE run = ? AND mammogram_id = ?"
        " ORDER BY class, rank",
        [run, mammogram_id],
    ).df()


def load_coverage(con: Connection, run: str) -> pd.DataFrame:
    """Return the table of a coverage run: class, name, estimate, low, high, method, n."""
    return con.execute("SELECT * EXCLUDE run FROM coverage WHERE run = ?", [run]).df()


def load_concepts(con: Connection, run: str) -> pd.DataFrame:
    """Return the phantom concepts in the top patches of units: unit, concept, share, iou."""
    return con.execute(
        "SELECT * EXCLUDE run FROM concepts WHERE run = ? ORDER BY unit, share DESC, iou DESC",
        [run],
    ).df()


def load_descriptor_associations(
    con: Connection, run: str, unit: int | None = None
) -> pd.DataFrame:
    """Return the table of a descriptor_association run, of one unit or all.

    Columns: unit, descriptor, contrast, auc, low, high, p, p_adjusted, iou, positives, patients.
    """
    return con.execute(
        "SELECT * EXCLUDE run FROM descriptor_associations WHERE run = ?"
        " AND (? IS NULL OR unit = ?) ORDER BY unit, descriptor",
        [run, unit, unit],
    ).df()


def load_measured_descriptors(con: Connection, run: str) -> list[str]:
    """Return the descriptors of a descriptor_association run that have an AUC, by name."""
    rows = con.execute(
        "SELECT DISTINCT descriptor FROM descriptor_associations WHERE run = ?"
        " AND auc IS NOT NULL ORDER BY 1",
        [run],
    )
    return [row[0] for row in rows.fetchall()]


def load_ablations(con: Connection, run: str) -> pd.DataFrame:
    """Return an ablate run: class, subject, name, step, estimate, low, high, method, n."""
    return con.execute(
        "SELECT * EXCLUDE run FROM ablations WHERE run = ? ORDER BY class, subject, name, step",
        [run],
    ).df()


def load_attention(con: Connection, run: str, mammogram_id: str) -> pd.DataFrame:
    """Return the attention weights of one mammogram in an evaluate run.

    Columns: place, source ("image" or an auxiliary column), value, missing, weight. The weights sum
    to one. No rows for a network without auxiliary inputs.
    """
    return con.execute(
        "SELECT * EXCLUDE (run, mammogram_id) FROM attention WHERE run = ? AND mammogram_id = ?"
        " ORDER BY place",
        [run, mammogram_id],
    ).df()


def load_explanations(con: Connection, run: str, mammogram_id: str | None = None) -> pd.DataFrame:
    """Return the explanations of an explain run, of one mammogram or all, with their mammograms.

    Columns: mammogram_id, patient_id, laterality, view, film (working image), width, height, split,
    predicted, lesion_class, truth, p_<class>, file (arrays of maps), outside (share of the response
    outside the breast; missing in runs from before that figure).
    """
    return con.execute(
        """
        SELECT e.* EXCLUDE run, m.patient_id, m.laterality, m.view, m.file AS film,
            m.width, m.height
        FROM explanations e JOIN mammograms m USING (mammogram_id)
        WHERE run = ? AND (? IS NULL OR mammogram_id = ?)
        ORDER BY mammogram_id
        """,
        [run, mammogram_id, mammogram_id],
    ).df()


def load_image_scores(con: Connection, run: str, split: str | None = None) -> pd.DataFrame:
    """Return the image scores of an evaluate run, of one split or all.

    Columns: mammogram_id, patient_id, view, scanner, s_<class>, truth, predicted, split.
    """
    return con.execute(
        """
        SELECT s.* EXCLUDE run, m.patient_id, m.view, m.scanner
        FROM image_scores s JOIN mammograms m USING (mammogram_id)
        WHERE run = ? AND (? IS NULL OR split = ?)
        ORDER BY mammogram_id
        """,
        [run, split, split],
    ).df()


def load_predictions(con: Connection, run: str, patches_run: str, split: str) -> pd.DataFrame:
    """Return the patch probabilities of an evaluate run for one split.

    Columns: patch_id, label, p_<class>, mammogram_id, patient_id.
    """
    return con.execute(
        """
        SELECT e.* EXCLUDE run, p.label, p.mammogram_id, m.patient_id
        FROM predictions e
            JOIN patches p ON p.run = ? AND p.patch_id = e.patch_id
            JOIN mammograms m USING (mammogram_id)
        WHERE e.run = ? AND p.split = ?
        ORDER BY p.patch_id
        """,
        [patches_run, run, split],
    ).df()


def record_figure_pick(con: Connection, run: str, mammogram_id: str, how: str, actor: str) -> None:
    """Record a case for the figures. how: "random" or "hand-picked"."""
    con.execute(
        "INSERT INTO figure_picks VALUES (?, ?, ?, ?, ?)",
        [run, mammogram_id, how, actor, utc_now()],
    )


def load_figure_picks(con: Connection, run: str) -> list[dict[str, Any]]:
    """Return the cases recorded for the figures: mammogram_id, how, who, made."""
    return (
        con.execute("SELECT * EXCLUDE run FROM figure_picks WHERE run = ? ORDER BY made", [run])
        .df()
        .to_dict("records")
    )
