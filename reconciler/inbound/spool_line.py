"""One callback as one line of a spool file: a checksum, a space, a JSON array."""

import zlib

import orjson

from reconciler.store.inbox import Receipt


def encode(receipt: Receipt) -> bytes:
    """Return the line for ``receipt``, with its line feed."""
    payload = orjson.dumps(
        [
            receipt.receipt_id,
            receipt.received_at,
            receipt.process_id,
            receipt.dossier_id,
            receipt.status,
            receipt.extra,
            receipt.body_sha256.hex(),
        ]
    )
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


def decode(line: bytes) -> Receipt | None:
    """Return the receipt of a line without its line feed; None if the line is damaged."""
    checksum, _, payload = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(payload):
        return None
    try:
        receipt_id, received_at, process_id, dossier_id, status, extra, digest = orjson.loads(
            payload
        )
        return Receipt(
            receipt_id=receipt_id,
            received_at=received_at,
            process_id=process_id,
            dossier_id=dossier_id,
            status=status,
            extra=tuple(extra),
            body_sha256=bytes.fromhex(digest),
        )
    except (ValueError, TypeError):
        return None
