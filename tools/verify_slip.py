"""Verifies a promise slip (phiếu hẹn) without a network: `python verify_slip.py --keys FILE SLIP`.

Needs Python 3.11 and the package `cryptography`, nothing else. FILE is what `GET /v1/seals/keys` answered when you
trusted it: keep it. SLIP is what the QR code says, or `-` for standard input. Prints what was promised and ends with 0;
says what does not fit and ends with 1.

A slip is `PH1.` and, in base32 without padding, UTF-8 JSON followed by 64 bytes: the Ed25519 signature (RFC 8032) of
the line `phananh slip 1` and that JSON. `key` is how the signing key's name begins, its SHA-256 in hexadecimal.
"""

import argparse
import base64
import binascii
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PREFIX, SIGNED_AS, SIGNATURE_BYTES = "PH1.", b"phananh slip 1\n", 64


class Fault(Exception):
    """What does not fit, as a sentence."""


def trusted_keys(path: Path) -> dict[str, bytes]:
    """The public keys of a file, by their names; a key that does not bear its own name is refused."""
    try:
        told = {key["id"]: bytes.fromhex(key["public_key"]) for key in json.loads(path.read_text())["items"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Fault(f"{path} holds no keys: {error}") from error
    if any(hashlib.sha256(public).hexdigest() != name for name, public in told.items()):
        raise Fault(f"{path}: a key's name is not its SHA-256")
    return told


def verified(slip: str, keys: dict[str, bytes]) -> dict[str, Any]:
    """What a genuine slip says."""
    word = "".join(slip.split()).upper()
    if not word.startswith(PREFIX):
        raise Fault("this is no slip: it does not begin with PH1.")
    packed = word.removeprefix(PREFIX)
    try:
        data = base64.b32decode(packed + "=" * (-len(packed) % 8))
        body, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
        said: dict[str, Any] = json.loads(body)
        hint = str(said["key"])
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise Fault("the slip is damaged") from error
    for name, public in keys.items():
        if name.startswith(hint):
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(signature, SIGNED_AS + body)
            except (InvalidSignature, ValueError):
                continue
            return said
    raise Fault(f"the signature is not of a trusted key (it names {hint})")


def main() -> int:
    """Verify one slip."""
    parser = argparse.ArgumentParser(description="Verifies a promise slip without a network.")
    parser.add_argument("--keys", type=Path, required=True, help="the answer of GET /v1/seals/keys, as you kept it")
    parser.add_argument("slip", help="PH1.…, or - for standard input")
    asked = parser.parse_args()
    try:
        said = verified(sys.stdin.read() if asked.slip == "-" else asked.slip, trusted_keys(asked.keys))
        print(
            f"genuine: {said['unit_name']} ({said['unit']}) promised to {said['promise']} report {said['case']}"
            f" ({said['category']}) by {said['by']}; slip {said['number']}, issued {said['issued']}"
        )
    except Fault as fault:
        print(f"not genuine: {fault}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
