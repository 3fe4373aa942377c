"""A reading study at another site: a bundle (a study folder with texts, the pictures of image arms,
and the protocol's hash, nothing else), its answers as one file, and their way back.

Seals are HMACs with a key that only the bundle and the study at home hold: enough to notice a
change by hand, at the other site too.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import store, study_folder
from core.errors import UserError
from core.images import blinded_rendering
from core.settings import preset as settings_preset
from core.store import bundle_table, participant_table, reading_table, run_table
from core.store.dataset_table import Connection
from core.store.reading_table import Picture, Protocol
from core.timestamps import now
from evaluation.reading_study import check_frozen
from evaluation.reading_study.workflow import design_of, find

KIND = "deepminer reading answers"
# All of a design that a reader's page needs; the rest (hypothesis, flow, truth rule ...) stays at
# home.
SHOWN = ("name", "seed", "scale", "repeats", "texts", "told", "question", "practice")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle that was made. cases: texts in it."""

    id: str
    protocol: str
    version: int
    hash: str
    cases: int
    folder: Path


@dataclass(frozen=True)
class Received:
    """Answers that came back: codes as they are called at home, and how many answers each gave
    (practice left out).
    """

    id: str
    protocol: str
    version: int
    readers: dict[str, int]


def _seal(key: str, content: Any) -> str:
    text = json.dumps(
        content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return hmac.new(bytes.fromhex(key), text.encode(), hashlib.sha256).hexdigest()


def _frozen(con: Connection, name: str | None) -> Protocol:
    """The named protocol's newest version, or the newest frozen one of all, if it is open for
    reading.
    """
    if name is None:
        found = reading_table.open_protocol(con)
        if found is None:
            raise UserError(
                "No reading study is frozen and open; freeze one first (`deepminer reading"
                " freeze`)."
            )
        return found
    found = find(con, name)
    if found.state != "frozen":
        raise UserError(
            f"{found.protocol}, version {found.version}, is {found.state}; only a frozen and open"
            " study can be bundled."
        )
    return found


def make(study: Path, out: Path, protocol: str | None, who: str) -> Bundle:
    """Make a bundle in a new folder.

    The study records its key, so that it can tell the answers that come back.
    """
    with store.read(study) as con:
        if bundle_table.own(con):
            raise UserError(
                f"{study} is a bundle itself; make bundles where the study was designed."
            )
        found = _frozen(con, protocol)
        cases = reading_table.cases(con, found.protocol, found.version)
        shown = bundle_table.shown(con, found.protocol, found.version)
        pictures = reading_table.pictures(con, found.protocol, found.version)
        number = len(bundle_table.issued(con)) + 1
    check_frozen(design_of(found), cases, found.hash)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder; name a new one for the bundle.")
    facts = {"id": f"B{number}", "key": secrets.token_hex(32), "hash": found.hash}
    design = {name: found.design[name] for name in SHOWN if name in found.design}
    study_folder.init(out, settings_preset().changed("study", name=f"Bundle {facts['id']}"))
    ready = _pictures(study, out, pictures)
    with store.write(out) as con:
        common: dict[str, Any] = {
            "protocol": found.protocol,
            "version": found.version,
            "design": design,
            "hash": found.hash,
            "who": who,
        }
        reading_table.append_state(con, state="design", **common)
        bundle_table.add_shown(con, found.protocol, found.version, shown)
        for state in ("lint", "frozen"):
            reading_table.append_state(con, state=state, **common)
        reading_table.add_pictures(con, found.protocol, found.version, ready)
        bundle_table.note_own(
            con,
            facts
            | {"seal": _seal(facts["key"], _content(con, out, found.protocol, found.version))},
        )
    made = {
        "key": facts["key"],
        "protocol": found.protocol,
        "version": found.version,
        "hash": found.hash,
        "made": now().isoformat(timespec="seconds"),
        "imported": None,
    }
    with store.write(study) as con:
        bundle_table.note_issued(con, facts["id"], made)
        run_table.log(
            con,
            who,
            "bundle made",
            f"{facts['id']} of {found.protocol} version {found.version} {found.hash}",
        )
    return Bundle(
        id=facts["id"],
        protocol=found.protocol,
        version=found.version,
        hash=found.hash,
        cases=len(shown),
        folder=out,
    )


def _pictures(study: Path, out: Path, pictures: Sequence[Picture]) -> list[Picture]:
    """Draw what the image arms show into a bundle, as readers will see it, under random names;
    nothing where no arm shows images.
    """
    ready = []
    for picture in pictures:
        name = secrets.token_hex(12)
        target = blinded_rendering.ready_file(out, name)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(blinded_rendering.rendered(study, picture.kind, picture.source))
        ready.append(
            Picture(picture.case_number, picture.kind, blinded_rendering.source_of_ready(name))
        )
    return ready


def _content(con: Connection, study: Path, protocol: str, version: int) -> list[Any]:
    """What a bundle's seal covers: its one protocol as frozen, every text, and every picture."""
    found = reading_table.get(con, protocol, version)
    shown = [
        protocol,
        version,
        found.state if found else "",
        found.hash if found else "",
        found.design if found else {},
        bundle_table.shown(con, protocol, version),
    ]
    pictures = [
        [p.case_number, p.kind, p.source, _digest(study, p)]
        for p in reading_table.pictures(con, protocol, version)
    ]
    return [*shown, pictures] if pictures else shown


def _digest(study: Path, picture: Picture) -> str:
    """SHA-256 of a picture of a bundle; empty where its file is gone."""
    try:
        return hashlib.sha256(
            blinded_rendering.rendered(study, picture.kind, picture.source)
        ).hexdigest()
    except OSError:
        return ""


def check(study: Path) -> Protocol | None:
    """The protocol of a bundle as it was made; None where the study is no bundle.

    UserError where the bundle was changed.
    """
    with store.read(study) as con:
        facts = bundle_table.own(con)
        if facts is None:
            return None
        protocols = reading_table.protocols(con)
        whole = len(protocols) == 1 and hmac.compare_digest(
            _seal(facts["key"], _content(con, study, protocols[0].protocol, protocols[0].version)),
            facts["seal"],
        )
    if not whole:
        raise UserError(
            f"The bundle {study} was changed after it was made: its texts, its pictures or its"
            " protocol do not fit its seal. Ask the research team for a new one."
        )
    return protocols[0]


def export_answers(study: Path, file: Path) -> dict[str, int]:
    """Write a bundle's answers into one sealed file; {code: answers}.

    UserError if this is no bundle, was changed, or the file exists.
    """
    protocol = check(study)
    if protocol is None:
        raise UserError(
            f"{study} is no bundle; its own answers are in its store already (`deepminer reading"
            " score` after closing)."
        )
    if file.exists():
        raise UserError(f"{file} exists already; name a new file for the answers.")
    with store.read(study) as con:
        facts = bundle_table.own(con) or {}
        readers = bundle_table.readers(con, protocol.protocol, protocol.version)
    if not readers:
        raise UserError(
            "Nobody has read yet, so there are no answers to export; invite a reader with"
            " `deepminer invite reader`."
        )
    content = {
        "schema": 1,
        "kind": KIND,
        "bundle": facts["id"],
        "protocol": protocol.protocol,
        "version": protocol.version,
        "hash": protocol.hash,
        "exported": now().isoformat(timespec="seconds"),
        "readers": readers,
    }
    study_folder.write_text(
        file,
        json.dumps(content | {"seal": _seal(facts["key"], content)}, indent=1, ensure_ascii=False)
        + "\n",
    )
    return {reader["code"]: _count(reader) for reader in readers}


def _count(reader: Mapping[str, Any]) -> int:
    counted = {position for position, _, _, practice in reader["items"] if not practice}
    return len({a[0] for a in reader["answers"]} & counted)


def import_answers(study: Path, file: Path, who: str) -> Received:
    """Add a bundle's answers, all or none, once.

    Readers are called B1-R1: bundle, then their code there.
    """
    content = _read(file)
    with store.write(study) as con:
        bundle = str(content.get("bundle"))
        facts = bundle_table.issued(con).get(bundle)
        if facts is None:
            raise UserError(
                f"{file} comes from the bundle {bundle[:20]!r}, which this study has not given out;"
                " import it where the bundle was made."
            )
        if not hmac.compare_digest(
            _seal(facts["key"], {k: v for k, v in content.items() if k != "seal"}),
            str(content.get("seal")),
        ):
            raise UserError(
                f"{file} is not as it was exported: it was edited by hand, or cut. Ask the other"
                " site to export the answers again."
            )
        if facts["imported"]:
            raise UserError(
                f"The answers of the bundle {bundle} were imported on {facts['imported'][:10]}"
                " already; a bundle's answers are imported once."
            )
        found = reading_table.get(con, facts["protocol"], facts["version"])
        if found is None or content["hash"] != found.hash:
            raise UserError(
                f"{file} was read under the protocol {content['hash'][:12]}, which is not this"
                " study's; nothing was imported."
            )
        if found.state != "frozen":
            raise UserError(
                f"{found.protocol}, version {found.version}, is {found.state}: it was closed before"
                " these answers came, and takes no more."
            )
        received = {}
        numbers = {row[0] for row in bundle_table.shown(con, found.protocol, found.version)}
        for reader in content["readers"]:
            _check_reader(file, reader, numbers, reading_table.scale(found.design))
            code = participant_table.check_code(f"{bundle}-{reader['code']}"[:32])
            participant_table.add(con, code, "reader")
            bundle_table.add_reader(con, found.protocol, found.version, reader, code)
            received[code] = _count(reader)
        bundle_table.note_issued(
            con, bundle, facts | {"imported": now().isoformat(timespec="seconds")}
        )
        run_table.log(
            con,
            who,
            "bundle answers imported",
            f"{bundle}: {sum(received.values())} answers of {', '.join(received)}",
        )
    return Received(bundle, found.protocol, found.version, received)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{file}: the file cannot be read ({error.strerror}); give a file made by `deepminer"
            " reading export-answers`."
        ) from error
    except ValueError as error:
        raise UserError(
            f"{file} is not JSON ({error}); give a file made by `deepminer reading export-answers`,"
            " whole and unchanged."
        ) from error
    if (
        not isinstance(content, dict)
        or content.get("kind") != KIND
        or content.get("schema") != 1
        or not isinstance(content.get("readers"), list)
    ):
        raise UserError(
            f"{file} holds no answers of a bundle; give a file made by `deepminer reading"
            " export-answers`."
        )
    return content


def _check_reader(file: Path, reader: Mapping[str, Any], numbers: set[int], most: int) -> None:
    """Order and answers must fit the protocol: every case once, repeats and practice apart; answers
    on places of the order, revisions from 1, on the scale.
    """
    items, answers = reader["items"], reader["answers"]
    places = {position for position, *_ in items}
    once = sorted(number for _, number, repeat, practice in items if not repeat and not practice)
    steps = sorted((a[0], a[1]) for a in answers)
    expected = [
        (p, r)
        for p in sorted({a[0] for a in answers})
        for r in range(1, 1 + sum(a[0] == p for a in answers))
    ]
    fits = (
        once == sorted(numbers)
        and places == set(range(1, len(items) + 1))
        and all(n in numbers for _, n, again, practice in items if again and not practice)
    )
    if (
        not fits
        or steps != expected
        or not {a[0] for a in answers} <= places
        or not all(1 <= a[2] <= most for a in answers)
    ):
        raise UserError(
            f"{file}: the order or the answers of {reader['code']} do not fit the protocol; nothing"
            " was imported. Ask the other site to export again."
        )
