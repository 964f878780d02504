import base64

import aiohttp
import pytest
import structlog

from reconciler.simulator import TOKEN_PREFIX, Simulator, World


@pytest.mark.parametrize("header", ["", "Bearer made-up", "Basic ZGVtbzpkZW1vLXNlY3JldA=="])
async def test_a_call_without_one_of_our_tokens_is_unauthorized(
    world: World, simulator: Simulator, header: str
) -> None:
    process = world.add()
    url = f"{simulator.base_url}/assure/dossiers/{process.dossier_id}/processes/"

    async with (
        aiohttp.ClientSession(headers={"Authorization": header}) as session,
        session.get(url + process.process_id) as response,
    ):
        assert response.status == 401
        assert (await response.json())["error"] == "unauthorized"


@pytest.mark.parametrize(
    ("credentials", "form", "http_status"),
    [
        ("demo:demo-secret", {"grant_type": "client_credentials"}, 200),
        ("demo:wrong", {"grant_type": "client_credentials"}, 401),
        ("demo:demo-secret", {"grant_type": "password"}, 400),
    ],
)
async def test_the_token_endpoint_wants_the_secret_and_the_grant_type(
    world: World, simulator: Simulator, credentials: str, form: dict[str, str], http_status: int
) -> None:
    basic = "Basic " + base64.b64encode(credentials.encode()).decode()

    async with (
        aiohttp.ClientSession(headers={"Authorization": basic}) as session,
        session.post(simulator.token_url, data=form) as response,
    ):
        body = await response.json()

    assert response.status == http_status
    assert [(c.kind, c.http_status) for c in world.calls] == [("token", http_status)]
    if http_status == 200:
        assert body["expires_in"] == 3600
        assert body["token_type"] == "Bearer"
        assert body["access_token"].startswith(TOKEN_PREFIX)
        assert simulator.tokens.accepts(f"Bearer {body['access_token']}")


async def test_a_secret_may_be_form_encoded_before_basic(world: World) -> None:
    simulator = Simulator(world, log=structlog.get_logger(), client_secret="a+b c/d")

    for secret in ("a+b c/d", "a%2Bb+c%2Fd"):
        basic = base64.b64encode(f"demo:{secret}".encode()).decode()
        assert simulator.tokens.knows_client(f"Basic {basic}")


@pytest.mark.parametrize(
    ("knob", "http_status"), [({"token_refused": True}, 401), ({"token_down": True}, 503)]
)
async def test_the_token_endpoint_can_refuse_and_be_down(
    world: World, simulator: Simulator, knob: dict[str, object], http_status: int
) -> None:
    world.faults.update(knob)
    basic = "Basic " + base64.b64encode(b"demo:demo-secret").decode()

    async with (
        aiohttp.ClientSession(headers={"Authorization": basic}) as session,
        session.post(simulator.token_url, data={"grant_type": "client_credentials"}) as response,
    ):
        assert response.status == http_status


async def test_a_drop_hits_the_token_endpoint_too(world: World, simulator: Simulator) -> None:
    world.faults.drop = True

    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.post(simulator.token_url)
