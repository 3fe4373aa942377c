"""Creation of a site bundle and the check of its seal."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from core import store, study_folder
from core.errors import UserError
from core.images import blinded_rendering
from core.images.jpeg_padding import MIN_PADDING, pad_jpeg
from core.sessions.consent import CONSENT_NAME, consent_text
from core.sessions.reading_session import reader_items
from core.settings import settings_from_preset
from core.store import run_table
from core.store.connection import Connection
from core.store.reading import bundle_table, protocol_table, reading_table
from core.store.reading.protocol_states import CHECKED, DESIGN, FROZEN, OPEN_STATES, require_state
from core.store.reading.protocol_table import Protocol
from core.store.reading.reading_table import CasePicture
from core.timestamps import utc_now
from evaluation.reading_study.sealed_key import check_frozen
from evaluation.reading_study.site_bundles import keys
from evaluation.reading_study.site_bundles.payload import CLOCK_TOLERANCE
from evaluation.reading_study.workflow import protocol_design
from evaluation.reading_study.workflow.content import check_frozen_content

# 1 (until November 2026): sealed by a key that the bundle shared, answers in plain text.
BUNDLE_SCHEMA = 2
# Settings that a reader's page needs. The rest, such as hypothesis, case flow, seed and truth rule,
# could unblind the readers and remains in the original study.
_DISPLAY_SETTINGS = (
    *("name", "scale", "texts", "told", "question", "practice", "positive", "comparison"),
    *("case_unit", "advice", "predict_network", "practice_advice", "questions", "questionnaire"),
)
# The share of wrong advice, where the readers are informed of it.
_TOLD_SHARE_SETTINGS = ("wrong_advice_told", "wrong_advice")


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
    readers : tuple of str
        Codes of the readers for whom it holds an order.
    folder : Path
        The study folder of the bundle.
    """

    id: str
    protocol: str
    version: int
    hash: str
    cases: int
    readers: tuple[str, ...]
    folder: Path


def _find_open_protocol(con: Connection, name: str | None, version: int | None) -> Protocol:
    """Return the named version, or the only one that is open."""
    if name is None and version is None:
        opened = [p for p in protocol_table.list_protocols(con) if p.state in OPEN_STATES]
        if not opened:
            raise UserError(
                "No reading study is frozen and open; freeze one first (`deepminer reading"
                " freeze`)."
            )
        if len(opened) > 1:
            names = ", ".join(f"{p.protocol!r} version {p.version}" for p in opened)
            raise UserError(
                f"Several reading studies are open ({names}); name one with --protocol and"
                " --version."
            )
        return opened[0]
    protocol = protocol_table.find_protocol(con, name, version)
    require_state(protocol.protocol, protocol.version, protocol.state, OPEN_STATES)
    return protocol


def create_bundle(
    study: Path,
    out: Path,
    protocol: str | None,
    user: str,
    *,
    version: int | None = None,
    readers: int | None = None,
) -> SiteBundle:
    """Create a site bundle in a new folder.

    The key that decrypts the bundle's answers stays in the original study (folder `keys`); the key
    that signs them goes into the bundle.

    Parameters
    ----------
    study : Path
        The original study folder, which records the bundle.
    out : Path
        New or empty folder.
    protocol : str or None
        Name of the reading study; None for the only open one.
    user : str
        Code of the acting person, for the log.
    version : int, optional
        Version of the protocol; needed where it has several.
    readers : int, optional
        Number of readers R1, R2, ... who can read in the bundle; default that of the design.

    Returns
    -------
    SiteBundle

    Raises
    ------
    UserError
        If the study is itself a bundle, no protocol is open or it is a crossover, the protocol was
        altered, or the folder is not empty.
    """
    with store.read(study) as con:
        if bundle_table.bundle_identity(con):
            raise UserError(
                f"{study} is itself a site bundle; create bundles in the original study folder."
            )
        frozen = _find_open_protocol(con, protocol, version)
        if protocol_design(frozen).washout_days is not None:
            raise UserError(
                f"{frozen.protocol}, version {frozen.version}, is a crossover, whose pauses one"
                " server enforces; a site bundle holds no periods. Let its readers read on the"
                " server of the original study folder."
            )
        cases = reading_table.load_reading_cases(con, frozen.protocol, frozen.version)
        bundle = _next_id(con, study)
        # The codes that invitations at the other site assign.
        codes = [f"R{i + 1}" for i in range(readers or protocol_design(frozen).readers)]
        seats = {code: bundle_table.seat_rows(reader_items(con, frozen, code)) for code in codes}
    # An altered key or image must not leave the study: it is not what is scored.
    check_frozen(protocol_design(frozen), cases, frozen.hash)
    check_frozen_content(study, frozen, cases, pictures=True)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder; name a new one for the bundle.")
    with _removed_on_failure(out):
        case_count = _issue_bundle(study, out, frozen, bundle, seats, user)
    return SiteBundle(
        id=bundle,
        protocol=frozen.protocol,
        version=frozen.version,
        hash=frozen.hash,
        cases=case_count,
        readers=tuple(seats),
        folder=out,
    )


@contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    """Remove the folder of a bundle if the block raises; one that existed is left empty.

    Half a bundle contains a key and cases and could be taken for a whole one.
    """
    existed = folder.exists()
    try:
        yield
    except BaseException:  # also an interruption
        if folder.exists():
            shutil.rmtree(folder)
        if existed:
            folder.mkdir()
        raise


def _issue_bundle(
    study: Path, out: Path, frozen: Protocol, bundle: str, seats: dict[str, Any], user: str
) -> int:
    """Write a bundle, its decryption key and its record; return the number of cases."""
    decryption_key, created_at = X25519PrivateKey.generate(), utc_now()
    identity = {
        "schema": BUNDLE_SCHEMA,
        "id": bundle,
        "hash": frozen.hash,
        "made": created_at.isoformat(),
        "seats": seats,
        "encryption_key": keys.encode_public_key(decryption_key.public_key()),
    }
    # Before the record in the study: a failed export leaves no record.
    case_count, issued = _write_bundle(study, out, frozen, identity, user)
    keys.write_private_key(keys.decryption_key_path(study, bundle), decryption_key)
    record = issued | {
        "schema": BUNDLE_SCHEMA,
        "protocol": frozen.protocol,
        "version": frozen.version,
        "hash": frozen.hash,
        "made": created_at.isoformat(),
        "seats": seats,
        "imported": None,
    }
    with store.write(study) as con:
        bundle_table.record_bundle_export(con, bundle, record)
        run_table.append_log(
            con,
            user,
            "bundle made",
            f"{bundle} of {frozen.protocol} version {frozen.version} {frozen.hash}, signing key"
            f" {record['signing_key']}",
        )
    return case_count


def _next_id(con: Connection, study: Path) -> str:
    """Return the first free id of a bundle: neither recorded nor with a key."""
    recorded = bundle_table.bundle_exports(con)
    # A restored backup may lack the record of a bundle whose key is still here.
    return next(
        bundle
        for bundle in (f"B{number}" for number in count(1))
        if bundle not in recorded and not keys.decryption_key_path(study, bundle).exists()
    )


def _write_bundle(
    study: Path, out: Path, frozen: Protocol, identity: dict[str, Any], user: str
) -> tuple[int, dict[str, str]]:
    """Write the study folder of a bundle.

    Returns the number of cases, and the bundle's public signing key and seal for the record of the
    original study.
    """
    with store.read(study) as con:
        cases = bundle_table.load_bundle_cases(con, frozen.protocol, frozen.version)
        pictures = reading_table.load_case_pictures(con, frozen.protocol, frozen.version)
    settings: tuple[str, ...] = _DISPLAY_SETTINGS
    if frozen.design.get("wrong_advice_told"):
        settings += _TOLD_SHARE_SETTINGS
    design = {name: frozen.design[name] for name in settings if name in frozen.design}
    study_folder.create_study(
        out, settings_from_preset().with_changes("study", name=f"Bundle {identity['id']}")
    )
    study_folder.write_text(out / CONSENT_NAME, consent_text(study))
    signing_key = Ed25519PrivateKey.generate()
    keys.write_private_key(keys.signing_key_path(out), signing_key)
    rendered = _render_pictures(study, out, pictures)
    # Used once and kept nowhere: a changed bundle cannot be sealed in place of this one.
    seal_key = Ed25519PrivateKey.generate()
    identity = identity | {"seal_key": keys.encode_public_key(seal_key.public_key())}
    with store.write(out) as con:
        # Cases can be added before freezing only, so the states are repeated one by one.
        for state in (DESIGN, CHECKED, FROZEN):
            protocol_table.append_protocol_state(
                con,
                protocol=frozen.protocol,
                version=frozen.version,
                state=state,
                design=design,
                hash=frozen.hash,
                actor=user,
            )
            if state == DESIGN:
                bundle_table.add_bundle_cases(con, frozen.protocol, frozen.version, cases)
        reading_table.add_case_pictures(con, frozen.protocol, frozen.version, rendered)
        # Last, because the seal covers the stored cases and images.
        content = _sealed_content(con, out, identity, frozen.protocol, frozen.version)
        seal = keys.sign(seal_key, content)
        bundle_table.record_bundle_identity(con, identity | {"seal": seal})
    issued = {"signing_key": keys.encode_public_key(signing_key.public_key()), "seal": seal}
    return len(cases), issued


def _render_pictures(study: Path, out: Path, pictures: Sequence[CasePicture]) -> list[CasePicture]:
    """Render the images of the image arms into a bundle, under random names.

    All files have one size and different bytes, also where cases show the same image.
    """
    if not pictures:
        return []
    images = [blinded_rendering.render_jpeg(study, p.kind, p.source) for p in pictures]
    size = max(map(len, images)) + MIN_PADDING
    rendered = []
    for picture, image in zip(pictures, images, strict=True):
        # Original file names could identify the patient or the class.
        name = secrets.token_hex(12)
        path = blinded_rendering.prerendered_path(out, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pad_jpeg(image, size))
        source = blinded_rendering.prerendered_source(name)
        rendered.append(CasePicture(picture.case_number, picture.kind, source, picture.slot))
    return rendered


def _sealed_content(
    con: Connection, study: Path, identity: Mapping[str, Any], name: str, version: int
) -> list[Any]:
    """Return what the seal of a bundle covers: protocol, orders, keys, every text and image."""
    protocol = protocol_table.load_protocol(con, name, version)
    return [
        {key: value for key, value in identity.items() if key != "seal"},
        name,
        version,
        protocol.hash if protocol else "",
        protocol.design if protocol else {},
        bundle_table.load_bundle_cases(con, name, version),
        [
            # Named only where a case has several images, so that the seals of older bundles hold.
            [p.case_number, p.kind, p.source, _picture_digest(study, p), *([p.slot] * bool(p.slot))]
            for p in reading_table.load_case_pictures(con, name, version)
        ],
    ]


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
        If the bundle was changed after its creation, was made by an earlier DeepMiner, or the clock
        of this machine lies before its creation.
    """
    with store.read(study) as con:
        identity = bundle_table.bundle_identity(con)
        if identity is None:
            return None
        check_bundle_schema(f"The bundle {study}", identity)
        protocols = protocol_table.list_protocols(con)
        # The seal covers one protocol; readers must not receive a second one.
        is_intact = len(protocols) == 1 and keys.is_signed(
            identity.get("seal_key", ""),
            identity.get("seal", ""),
            _sealed_content(con, study, identity, protocols[0].protocol, protocols[0].version),
        )
    if not is_intact:
        raise UserError(
            f"The bundle {study} was changed after its creation: its texts, images, orders or"
            " protocol do not match its seal. Ask the research team for a new one."
        )
    # Answers with such times would be refused by the original study, after all the reading.
    if utc_now() < datetime.fromisoformat(identity["made"]) - CLOCK_TOLERANCE:
        raise UserError(
            f"The clock of this machine is before the creation of the bundle {study}"
            f" ({identity['made'][:16].replace('T', ' ')} UTC); set the clock first."
        )
    return protocols[0]


def check_bundle_schema(subject: str, properties: Mapping[str, Any]) -> None:
    """Raise a UserError if a bundle was made by an earlier DeepMiner, without encryption."""
    if properties.get("schema") != BUNDLE_SCHEMA:
        raise UserError(
            f"{subject} was made by an earlier DeepMiner, whose answers are not encrypted; create"
            " a new bundle with `deepminer reading bundle`."
        )
