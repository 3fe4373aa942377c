"""Creation of a site bundle and the check of its seal."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import store, study_folder
from core.errors import UserError
from core.images import blinded_rendering
from core.settings import settings_from_preset
from core.store import (
    bundle_table,
    protocol_table,
    reading_table,
    run_table,
)
from core.store.connection import Connection
from core.store.protocol_table import Protocol
from core.store.reading_table import CasePicture
from core.timestamps import utc_now
from evaluation.reading_study.sealed_key import check_frozen
from evaluation.reading_study.workflow import find_protocol, protocol_design

# Settings that a reader's page needs. The rest, such as hypothesis, case flow and truth rule, could
# unblind the readers and remains in the original study.
_DISPLAY_SETTINGS = ("name", "seed", "scale", "repeats", "texts", "told", "question", "practice")


@dataclass(frozen=True, kw_only=True)
class SiteBundle:
    """A created bundle.

    Parameters
    ----------
    id : str
        B1, B2, ... in the order of creation.
    protocol, version, hash
        The frozen protocol.
    cases : int
        Number of cases.
    folder : Path
        The study folder of the bundle.
    """

    id: str
    protocol: str
    version: int
    hash: str
    cases: int
    folder: Path


def seal_content(key: str, content: Any) -> str:
    """Return the HMAC-SHA256 of the canonical JSON of a content under a hexadecimal key."""
    text = json.dumps(
        content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return hmac.new(bytes.fromhex(key), text.encode(), hashlib.sha256).hexdigest()


def _find_frozen_protocol(con: Connection, name: str | None) -> Protocol:
    """Return the open protocol: the newest version of a name, or the newest of all."""
    if name is None:
        newest = protocol_table.newest_open_protocol(con)
        if newest is None:
            raise UserError(
                "No reading study is frozen and open; freeze one first (`deepminer reading"
                " freeze`)."
            )
        return newest
    protocol = find_protocol(con, name)
    if protocol.state != "frozen":
        raise UserError(
            f"{protocol.protocol}, version {protocol.version}, is {protocol.state}; only a frozen"
            " and open study can be bundled."
        )
    return protocol


def create_bundle(study: Path, out: Path, protocol: str | None, user: str) -> SiteBundle:
    """Create a site bundle in a new folder.

    Parameters
    ----------
    study : Path
        The original study folder, which records the key of the bundle.
    out : Path
        New or empty folder.
    protocol : str or None
        Name of the reading study; None for the newest open one.
    user : str
        Code of the acting person, for the log.

    Returns
    -------
    SiteBundle

    Raises
    ------
    UserError
        If the study is itself a bundle, no protocol is open, the protocol was altered, or the
        folder is not empty.
    """
    with store.read(study) as con:
        if bundle_table.bundle_identity(con):
            raise UserError(
                f"{study} is itself a site bundle; create bundles in the original study folder."
            )
        frozen = _find_frozen_protocol(con, protocol)
        cases = reading_table.load_reading_cases(con, frozen.protocol, frozen.version)
        number = len(bundle_table.bundle_exports(con)) + 1
    # An altered key must not leave the study: its cases are not those that are scored.
    check_frozen(protocol_design(frozen), cases, frozen.hash)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder; name a new one for the bundle.")
    # Each bundle has its own key, so that one site cannot forge the answers of another.
    bundle, key = f"B{number}", secrets.token_hex(32)
    # Before the record in the study: a failed export leaves no record.
    case_count = _write_bundle(study, out, frozen, bundle, key, user)
    record = {
        "key": key,
        "protocol": frozen.protocol,
        "version": frozen.version,
        "hash": frozen.hash,
        "made": utc_now().isoformat(timespec="seconds"),
        "imported": None,
    }
    with store.write(study) as con:
        bundle_table.record_bundle_export(con, bundle, record)
        run_table.append_log(
            con,
            user,
            "bundle made",
            f"{bundle} of {frozen.protocol} version {frozen.version} {frozen.hash}",
        )
    return SiteBundle(
        id=bundle,
        protocol=frozen.protocol,
        version=frozen.version,
        hash=frozen.hash,
        cases=case_count,
        folder=out,
    )


def _write_bundle(
    study: Path, out: Path, frozen: Protocol, bundle: str, key: str, user: str
) -> int:
    """Write the study folder of a bundle and return its number of cases."""
    with store.read(study) as con:
        cases = bundle_table.load_bundle_cases(con, frozen.protocol, frozen.version)
        pictures = reading_table.load_case_pictures(con, frozen.protocol, frozen.version)
    design = {name: frozen.design[name] for name in _DISPLAY_SETTINGS if name in frozen.design}
    study_folder.create_study(
        out, settings_from_preset().with_changes("study", name=f"Bundle {bundle}")
    )
    rendered = _render_pictures(study, out, pictures)
    with store.write(out) as con:
        # Cases can be added before freezing only, so the states are repeated one by one.
        for state in ("design", "lint", "frozen"):
            protocol_table.append_protocol_state(
                con,
                protocol=frozen.protocol,
                version=frozen.version,
                state=state,
                design=design,
                hash=frozen.hash,
                actor=user,
            )
            if state == "design":
                bundle_table.add_bundle_cases(con, frozen.protocol, frozen.version, cases)
        reading_table.add_case_pictures(con, frozen.protocol, frozen.version, rendered)
        # Last, because the seal covers the stored cases and images.
        seal = seal_content(key, _sealed_content(con, out, frozen.protocol, frozen.version))
        bundle_table.record_bundle_identity(
            con, {"id": bundle, "key": key, "hash": frozen.hash, "seal": seal}
        )
    return len(cases)


def _render_pictures(study: Path, out: Path, pictures: Sequence[CasePicture]) -> list[CasePicture]:
    """Render the images of the image arms into a bundle, under random names."""
    # Original file names could identify the patient or the class.
    rendered = []
    for picture in pictures:
        name = secrets.token_hex(12)
        path = blinded_rendering.prerendered_path(out, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(blinded_rendering.render_jpeg(study, picture.kind, picture.source))
        source = blinded_rendering.prerendered_source(name)
        rendered.append(CasePicture(picture.case_number, picture.kind, source))
    return rendered


def _sealed_content(con: Connection, study: Path, name: str, version: int) -> list[Any]:
    """Return what the seal of a bundle covers: the frozen protocol, every text and every image."""
    protocol = protocol_table.load_protocol(con, name, version)
    content = [
        name,
        version,
        protocol.state if protocol else "",
        protocol.hash if protocol else "",
        protocol.design if protocol else {},
        bundle_table.load_bundle_cases(con, name, version),
    ]
    pictures = [
        [p.case_number, p.kind, p.source, _picture_digest(study, p)]
        for p in reading_table.load_case_pictures(con, name, version)
    ]
    # Without images the list ends here: bundles created before image arms keep their seal.
    return [*content, pictures] if pictures else content


def _picture_digest(study: Path, picture: CasePicture) -> str:
    """Return the SHA-256 of an image of a bundle, or "" if its file is missing."""
    try:
        image = blinded_rendering.render_jpeg(study, picture.kind, picture.source)
    # The empty digest breaks the seal, so a missing image is reported as a change.
    except OSError:
        return ""
    return hashlib.sha256(image).hexdigest()


def check_bundle(study: Path) -> Protocol | None:
    """Return the protocol of a site bundle, or None if the study is not a bundle.

    Raises
    ------
    UserError
        If the bundle was changed after its creation.
    """
    with store.read(study) as con:
        identity = bundle_table.bundle_identity(con)
        if identity is None:
            return None
        protocols = protocol_table.list_protocols(con)
        # The seal covers one protocol; readers must not receive a second one.
        is_intact = len(protocols) == 1 and hmac.compare_digest(
            seal_content(
                identity["key"],
                _sealed_content(con, study, protocols[0].protocol, protocols[0].version),
            ),
            identity["seal"],
        )
    if not is_intact:
        raise UserError(
            f"The bundle {study} was changed after its creation: its texts, images or protocol do"
            " not match its seal. Ask the research team for a new one."
        )
    return protocols[0]
