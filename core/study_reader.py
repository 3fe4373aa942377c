"""Read-only access to a study from a notebook or script: every result as a pandas table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from core import lineage, runs, store
from core.class_labels import unit_name
from core.settings import load_order_of_experts
from core.store import dataset_table, run_table, unit_table
from core.store.labels import label_states
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import require_results


class StudyReader:
    """The tables of a study; create it with `core.open_study`.

    Every method opens the store for reading and closes it again, so that a running server and other
    commands are not blocked. Nothing is ever written. Methods with a parameter `run` use the latest
    run by default.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"StudyReader({str(self.folder)!r})"

    def runs(self, kind: str | None = None) -> pd.DataFrame:
        """Return the runs, of one kind or all, the latest last.

        Columns: run, kind, settings (dict), parents (list), manifest (dict), made, seconds.
        """
        with store.read(self.folder) as con:
            return run_table.load_runs(con, kind)

    def patients(self) -> pd.DataFrame:
        """Return one row a patient: patient_id, source_id, age, density, features (dict), ..."""
        with store.read(self.folder) as con:
            return dataset_table.load_patients(con)

    def patches(self, run: str | None = None) -> pd.DataFrame:
        """Return one row a patch of a patches run, with its class `label` and `split`."""
        run = lineage.resolve_run(self.folder, "patches", run)
        with store.read(self.folder) as con:
            return dataset_table.load_patches(con, run)

    def units(self, run: str | None = None) -> pd.DataFrame:
        """Return the selected units of a dissect run, one row a class and unit.

        Parameters
        ----------
        run : str, optional
            Id of a dissect run.

        Returns
        -------
        DataFrame
            class (code), rank (from 1), unit (from 0), name, count (hold-out mammograms that have
            the unit among their most influential), share (count / mammograms), mean_influence (over
            the hold-out mammograms, in the class), layer, largest and quantile (activations), dead,
            top_patients. With a coverage run of this dissection also coverage: the part of all
            most influential units that the first `rank` units of the class account for.

        Raises
        ------
        MissingRunError
            If the run does not exist.
        UserError
            If it is no dissect run.
        """
        run = lineage.resolve_run(self.folder, "dissect", run)
        with store.read(self.folder) as con:
            table = unit_table.load_selected_units(con, run)
            facts = unit_table.load_units(con, run)
            mammograms = len(run_table.load_run(con, run)["manifest"]["mammograms"])
            coverage_run = run_table.latest_run(con, "coverage", run)
            coverage = unit_table.load_coverage(con, coverage_run) if coverage_run else None
        # float [mammograms, classes, units]
        influence = np.load(runs.run_folder(self.folder, run) / "influence.npy").mean(0)
        # Outputs of a network in order of their codes; with two classes they are 0 and 2.
        codes = sorted(table["class"].unique())
        table["name"] = [unit_name(unit) for unit in table["unit"]]
        table["share"] = table["count"] / mammograms
        table["mean_influence"] = [
            float(influence[codes.index(code), unit])
            for code, unit in zip(table["class"], table["unit"])
        ]
        table = table.merge(facts, on="unit", how="left")
        if coverage is not None:
            # curve_k is the coverage of the first k units: its number is a rank.
            curve = coverage[coverage["name"].str.fullmatch(r"curve_\d+")]
            ranks = curve["name"].str.removeprefix("curve_").astype("int32")
            curve = pd.DataFrame(
                {"class": curve["class"], "rank": ranks, "coverage": curve["estimate"]}
            )
            table = table.merge(curve, on=["class", "rank"], how="left")
        return table

    def labels(self, run: str | None = None) -> pd.DataFrame:
        """Return the labels of the units of a dissect run: unit, name, label, state, simulated."""
        run = lineage.resolve_run(self.folder, "dissect", run)
        order = load_order_of_experts(self.folder)
        with store.read(self.folder) as con:
            labels = label_states.unit_labels(con, run, order)
        rows = [(u, unit_name(u), x.text, x.state, x.simulated) for u, x in labels.items()]
        return pd.DataFrame(rows, columns=["unit", "name", "label", "state", "simulated"])

    def explanations(self, run: str | None = None) -> pd.DataFrame:
        """Return one row an explained mammogram: decision, truth and class scores.

        Columns: mammogram_id, patient_id, split, predicted (code, -1 without tissue), truth,
        lesion_class, p_normal, p_benign, p_malignant, file (its maps in the run folder), ...
        """
        run = lineage.resolve_run(self.folder, "explain", run)
        with store.read(self.folder) as con:
            return unit_table.load_explanations(con, run)

    def answers(self, protocol: str, version: int | None = None) -> pd.DataFrame:
        """Return the readers' answers of a closed reading study.

        Parameters
        ----------
        protocol : str
            Name of the reading study.
        version : int, optional
            Version of its protocol; may be left out where there is one.

        Returns
        -------
        DataFrame
            code, position, case_number, repeat, answer, revision, seconds, idle, simulated, made:
            the corrected answer to every case, without practice.

        Raises
        ------
        UserError
            If there is no such version, if several exist and none is named, or if it is not closed:
            answers stay sealed until then.
        """
        with store.read(self.folder) as con:
            selected = protocol_table.find_protocol(con, protocol, version)
            require_results(selected.protocol, selected.version, selected.state)
            return reading_table.load_reading_answers(con, selected.protocol, selected.version)
