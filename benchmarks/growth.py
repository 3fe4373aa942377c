"""Processor time and memory of every step and page on studies of growing size.

`python -m benchmarks.growth` measures studies of 200, 2,620 and 10,480 small phantom films (the
patients and the films of DDSM), each in a process of its own that may hold 256 open files, and
writes GROWTH.md beside this file. An exponent of 1 means that time grows with the number of films;
2, with its square. The line through the two largest studies is extended to 480,000 films.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from benchmarks.paper_scale import peak_resident_bytes
from benchmarks.timing import busy_share

SIZES = (200, 2_620, 10_480)
EXTENDED_FILMS = 480_000
OPEN_FILES = 256  # descriptors that the measured process may hold
LARGEST_EXPONENT = 1.1
# Steps that are this short in the larger study, in seconds, have no reliable exponent.
SHORTEST_S = 0.1
# The smallest films that a study accepts: four windows wide, so that no film is resized.
INPUT_SIDE = 32
FILM_WIDTH = 4 * INPUT_SIDE
ROOT = Path(__file__).parent.parent
PAGES = (
    "overview",
    "data",
    "performance",
    "units",
    "explanations",
    "annotations",
    "participants",
    "reading_study",
    "figures",
)


@dataclass(frozen=True)
class StepCost:
    """Processor time and peak memory of one step."""

    step: str
    processor_s: float
    peak_bytes: int


def study_steps(study: Path, films: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the steps of a study of phantom films, with two films per patient, in their order.

    Each step is to be run before the next is requested.
    """
    from core import settings, study_folder
    from core.pipeline import dissect, explain, ingest, patches, phantom_concepts, train
    from evaluation.pipeline import ablate, coverage, descriptor_association, evaluate

    chosen = settings.settings_from_preset(settings.PHANTOM_PRESET)
    chosen = chosen.with_changes("images", input_side=INPUT_SIDE)
    chosen = chosen.with_changes("training", epochs=1, units=16, draws=500)
    study_folder.create_study(study, chosen)

    def report(_done: int, _total: int, _unit: str) -> None:
        """Show no progress."""

    yield (
        "ingest",
        lambda: ingest.ingest(
            study, chosen, "phantom", None, report, patients=films // 2, sides=1, width=FILM_WIDTH
        ),
    )
    yield "patches", lambda: patches.run_patch_extraction(study, chosen, report)
    yield "train, 1 epoch", lambda: train.run_training(study, chosen, report)
    yield "evaluate", lambda: evaluate.run_evaluation(study, report)
    yield "dissect", lambda: dissect.run_dissection(study, chosen, report)
    (dissected,) = (path.name for path in (study / "runs").glob("dissect-*"))
    yield "coverage", lambda: coverage.run_coverage(study, report, dissected)
    yield (
        "descriptor association",
        lambda: descriptor_association.run_descriptor_association(study, report, dissected),
    )
    yield (
        "phantom concepts",
        lambda: phantom_concepts.run_phantom_concepts(study, report, dissected),
    )
    yield "explain", lambda: explain.run_explanation(study, chosen, report)
    yield "ablate", lambda: ablate.run_ablation(study, report, dissected)


def page_visits(study: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the first visit of every page of the team, and the second visit after it."""
    from streamlit.testing.v1 import AppTest

    from dashboard.server import identity
    from dashboard.server.context import STUDY_VARIABLE

    os.environ[STUDY_VARIABLE] = str(study)
    identity.current_identity = lambda: identity.Identity("bench", "team")
    for name in PAGES:
        page = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=600)
        # The entry page has no address of its own.
        if name != PAGES[0]:
            page.switch_page(f"pages/{name}.py")

        def visit(page: AppTest = page) -> None:
            """Run the page once; its error ends the measurement."""
            page.run()
            if page.exception:
                raise RuntimeError(page.exception[0].message)

        yield f"page {name}", visit
        yield f"page {name}, second visit", visit


def measure_steps(films: int) -> Iterator[StepCost]:
    """Build a study in a temporary folder and yield what each step and page costs."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, most))
    with tempfile.TemporaryDirectory() as name:
        study = Path(name) / "study"
        for steps in (study_steps(study, films), page_visits(study)):
            for step, work in steps:
                # Linux then counts the peak of the resident memory anew.
                Path("/proc/self/clear_refs").write_text("5")
                started = processor_seconds()
                work()
                yield StepCost(step, processor_seconds() - started, peak_resident_bytes())


def processor_seconds() -> float:
    """Return the processor time of this process and of its processes that have ended."""
    usages = (resource.getrusage(p) for p in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def growth_exponent(small_s: float, large_s: float, small: int, large: int) -> float | None:
    """Return b of time = a * films**b from two sizes; None if the larger takes under 0.1 s.

    Examples
    --------
    >>> growth_exponent(1.0, 16.0, 100, 400)
    2.0
    """
    if large_s < SHORTEST_S or small_s <= 0:
        return None
    return math.log(large_s / small_s) / math.log(large / small)


def extend_line(small: float, large: float, films: tuple[int, int], extended: int) -> float:
    """Return the value at a number of films of the line through two sizes, not below the larger.

    Examples
    --------
    >>> extend_line(1.0, 3.0, (100, 200), 400)
    7.0
    """
    slope = (large - small) / (films[1] - films[0])
    return large + max(0.0, slope) * (extended - films[1])


def format_table(costs: dict[int, list[StepCost]], other_work: float) -> str:
    """Return the page with the costs of three sizes, by number of films.

    other_work: largest share of the processors that other work used before a size.
    """
    smallest, middle, largest = sorted(costs)
    lines = [
        "# Growth",
        "",
        (
            f"Written by `python -m benchmarks.growth` on {date.today():%d %B %Y}. Phantom films of"
            f" {FILM_WIDTH} pixels, two per patient; simulated. Processor seconds of a process that"
            f" computes in one thread and may hold {OPEN_FILES} open files, and of its children;"
            " peak of its own resident"
            " memory in MiB. An exponent of 1 means that time grows with the number of films."
            f" Exponents above {LARGEST_EXPONENT} are bold; steps under {SHORTEST_S} s have none."
            " The last two columns extend the line through the two larger studies to"
            f" {EXTENDED_FILMS:,} films. Other work, which lengthens processor times too, used"
            f" {other_work:.0%} of the processors or less before each size."
        ),
        "",
        f"| Step | {smallest:,} films | {middle:,} films | {largest:,} films | Exponent |"
        f" Exponent | Memory | Memory | Memory | {EXTENDED_FILMS:,} films, hours | Memory, GiB |",
        "|---|" + "---:|" * 10,
    ]
    for rows in zip(*(costs[size] for size in (smallest, middle, largest)), strict=True):
        few, many, most = rows
        exponents = (
            growth_exponent(few.processor_s, many.processor_s, smallest, middle),
            growth_exponent(many.processor_s, most.processor_s, middle, largest),
        )
        hours, gib = (
            extend_line(before, after, (middle, largest), EXTENDED_FILMS) / unit
            for before, after, unit in (
                (many.processor_s, most.processor_s, 3600),
                (many.peak_bytes, most.peak_bytes, 2**30),
            )
        )
        cells = [
            rows[0].step,
            *(f"{cost.processor_s:.2f}" for cost in rows),
            *(format_exponent(exponent) for exponent in exponents),
            *(f"{cost.peak_bytes / 2**20:,.0f}" for cost in rows),
            f"{hours:,.2f}",
            f"{gib:,.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def format_exponent(exponent: float | None) -> str:
    """Return an exponent, bold where it is above the limit, or nothing."""
    if exponent is None:
        return ""
    emphasis = "**" if exponent > LARGEST_EXPONENT else ""
    return f"{emphasis}{exponent:.2f}{emphasis}"


def measure_in_new_process(films: int) -> list[StepCost]:
    """Measure one size in a process without the caches of another."""
    command = [sys.executable, "-m", "benchmarks.growth", "--films", str(films)]
    # Threads that wait for each other use processor time too, beside other work several times as
    # much as the computation.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT, env=environment
    )
    return [StepCost(**row) for row in json.loads(done.stdout.splitlines()[-1])]


def main() -> None:
    """Measure all sizes and write the table, or measure one size and print it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--films", type=int, help="measure this size only and print JSON")
    films = parser.parse_args().films
    if films is not None:
        costs = []
        for cost in measure_steps(films):
            print(f"{films} films, {cost.step}: {cost.processor_s:.2f} s", file=sys.stderr)
            costs.append(asdict(cost))
        print(json.dumps(costs))
        return
    costs_by_size, other_work = {}, 0.0
    for size in SIZES:
        other_work = max(other_work, busy_share())
        costs_by_size[size] = measure_in_new_process(size)
    table = format_table(costs_by_size, other_work)
    (Path(__file__).parent / "GROWTH.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
