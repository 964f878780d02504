"""The OpenAPI document against the routes, and against what the server does with generated data."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from reconciler.admin.build import document

if TYPE_CHECKING:
    from tests.admin.conftest import Build, Client, Played

# The token has tests of its own. Here it would refuse what is to be refused for another reason.
SCHEMA = schemathesis.openapi.from_dict({**document(), "security": []})
OPERATIONS = {
    f"{method.upper()} {path}": SCHEMA[path][method.upper()]
    for path, operations in document()["paths"].items()
    for method in operations
}
REDELIVER = "POST /v1/deliveries/{id}/redeliver"
ONLY_LOOKS = {"GET /", "GET /metrics", "GET /live", "GET /ready", "GET /v1/status"}
LATE = 253_400_000_000_000
"""In the year 9999, in milliseconds."""

WITHOUT_INPUT = {*ONLY_LOOKS, "GET /openapi.json", REDELIVER}


def test_every_route_is_in_the_document_and_nothing_else_is(build: Build) -> None:
    served = {(route.method, route.path.replace(":[^/]+}", "}")) for route in build().routes}
    described = {
        (method.upper(), path)
        for path, operations in document()["paths"].items()
        for method in operations
    }

    assert served == described


async def test_the_document_is_served(client: Client) -> None:
    answer = await client.get("/openapi.json")

    assert (answer.status, answer.body) == (200, document())


@pytest.mark.parametrize("label", OPERATIONS)
async def test_what_fits_the_document_is_answered_as_it_says(
    client: Client, played: Played, label: str
) -> None:
    played.clock.wall = LATE  # no schema can say that a time may not lie in the future
    await fuzz(client, label, GenerationMode.POSITIVE)


@pytest.mark.parametrize("label", sorted(OPERATIONS.keys() - WITHOUT_INPUT))
async def test_what_does_not_fit_the_document_is_refused_as_it_says(
    client: Client, label: str
) -> None:
    await fuzz(client, label, GenerationMode.NEGATIVE)


async def fuzz(client: Client, label: str, mode: GenerationMode) -> None:
    """Send the same generated requests each time, and let schemathesis judge the answers."""
    bounded = settings(
        max_examples=40,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    def check(case: Any) -> None:
        if mode is GenerationMode.POSITIVE:
            case.query.pop("cursor", None)  # only a page gives one out
            if "settledSince" in case.query or "endedSince" in case.query:
                case.query.pop("state", None)
            if "settledSince" in case.query:
                case.query.pop("endedSince", None)
        case.call_and_validate(base_url=client.url)

    strategy = OPERATIONS[label].as_strategy(generation_mode=mode)
    known = {"dossierId": "d1", "processId": "0"}  # the shortest id that is generated
    await client.register(known)
    await asyncio.to_thread(bounded(given(case=strategy)(check)))
