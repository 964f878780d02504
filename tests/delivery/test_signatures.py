import time
from base64 import b64encode

import orjson
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from reconciler.delivery.signing import Signer
from reconciler.ledger import TrackedProcess, process_json

secrets = st.binary(min_size=24, max_size=64).map(lambda raw: "whsec_" + b64encode(raw).decode())
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255)


@given(texts, texts, st.none() | texts, st.lists(secrets, min_size=1, max_size=2))
def test_the_signature_of_every_payload_verifies_with_the_reference_library(
    process_id: str, dossier_id: str, reference: str | None, chosen: list[str]
) -> None:
    process = TrackedProcess(
        process_id=process_id,
        dossier_id=dossier_id,
        reference=reference,
        registered_at=0,
        timeout_from=0,
    )
    payload = orjson.dumps({"type": "process.settled", "data": process_json(process)}).decode()
    signer = Signer(chosen, {})
    headers = dict(signer.headers("msg_1", payload, time.time_ns() // 1_000_000))
    for secret in chosen:
        told = Webhook(secret).verify(payload.encode(), headers)
        assert told["data"]["processId"] == process_id
