"""Keys of site bundles: seals and signatures (Ed25519), encryption to the original study (HPKE).

Only constructions of the library `cryptography` are used: Ed25519 signatures (RFC 8032), and hybrid
public key encryption (RFC 9180) with X25519, HKDF-SHA256 and ChaCha20-Poly1305.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hpke, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from core.errors import UserError
from core.store.key_files import decryption_key_path, signing_key_path, write_key_file

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


def canonical_json(content: Any) -> bytes:
    """Return a content as canonical JSON in UTF-8, the form that is sealed, signed, encrypted."""
    text = json.dumps(
        content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return text.encode()


def write_private_key(path: Path, key: Ed25519PrivateKey | X25519PrivateKey) -> None:
    """Write a private key into a new file that only its owner can read (PKCS 8, PEM)."""
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_key_file(path, text)


def load_signing_key(study: Path) -> Ed25519PrivateKey:
    """Return the signing key of a bundle. UserError if the file is missing or no such key."""
    path = signing_key_path(study)
    key = _load_private_key(path, "take it from the bundle as it was received")
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(f"{path} holds a key of another kind; take the file of this bundle.")
    return key


def load_decryption_key(study: Path, bundle: str) -> X25519PrivateKey:
    """Return the key that decrypts a bundle's answers. UserError if missing or no such key."""
    path = decryption_key_path(study, bundle)
    key = _load_private_key(path, "restore it from a backup of the study folder")
    if not isinstance(key, X25519PrivateKey):
        raise UserError(f"{path} holds a key of another kind; restore the file of this bundle.")
    return key


def _load_private_key(path: Path, remedy: str) -> Any:
    try:
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise UserError(f"The key {path} cannot be read ({error.strerror}); {remedy}.") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"The key {path} is damaged; {remedy}.") from error


def encode_public_key(key: Ed25519PublicKey | X25519PublicKey) -> str:
    """Return the 32 bytes of a public key in Base64."""
    return b64encode(key.public_bytes_raw()).decode()


def sign(key: Ed25519PrivateKey, content: Any) -> str:
    """Return the Ed25519 signature of the canonical JSON of a content, in Base64."""
    return b64encode(key.sign(canonical_json(content))).decode()


def is_signed(public_key: str, signature: str, content: Any) -> bool:
    """Return whether a signature fits a content and a public key (both in Base64)."""
    try:
        key = Ed25519PublicKey.from_public_bytes(b64decode(public_key, validate=True))
        key.verify(b64decode(signature, validate=True), canonical_json(content))
    # ValueError: text that is no Base64 or of the wrong length is not a signature.
    except (InvalidSignature, ValueError):
        return False
    return True


def encrypt(public_key: str, content: Any, header: Any) -> str:
    """Return the canonical JSON of a content, encrypted to a public key and bound to a header."""
    recipient = X25519PublicKey.from_public_bytes(b64decode(public_key))
    return b64encode(
        _SUITE.encrypt(canonical_json(content), recipient, canonical_json(header))
    ).decode()


def decrypt(key: X25519PrivateKey, ciphertext: str, header: Any) -> bytes | None:
    """Return what was encrypted to a key under a header, or None for another key or header."""
    try:
        return _SUITE.decrypt(b64decode(ciphertext, validate=True), key, canonical_json(header))
    except (InvalidTag, ValueError):
        return None
