"""The value in force has the settings, and what each part derives from them."""

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from reconciler.config import AccessRules, InForce, Settings, in_force, resolve_secrets, rules

Loader = Callable[..., Settings]

CLIENT = '[assure]\nclient_id = "c"\nclient_secret = "canary-client"\n'


def in_force_of(settings: Settings) -> InForce:
    return in_force(settings, resolve_secrets(settings, {"SECOND": "Bearer canary-two"}))


def test_every_key_of_the_listener_reaches_its_access_rules(load_text: Loader) -> None:
    settings = load_text(
        CLIENT
        + """
        [listener]
        path = "/elsewhere"
        authorization = ["Bearer canary-one", { env = "SECOND" }]
        allow_from = ["192.0.2.0/24"]
        trusted_proxies = ["10.0.0.0/8"]
        max_body = 2048
        """
    )
    assert in_force_of(settings).access == AccessRules(
        path="/elsewhere",
        authorization=(b"Bearer canary-one", b"Bearer canary-two"),
        allow_from=(ip_network("192.0.2.0/24"),),
        trusted_proxies=(ip_network("10.0.0.0/8"),),
        max_body=2048,
    )


@pytest.mark.parametrize(
    ("keys", "is_open"),
    [
        ("", True),
        ('trusted_proxies = ["10.0.0.0/8"]', True),
        ('authorization = ["Bearer a"]', False),
        ('allow_from = ["10.0.0.0/8"]', False),
    ],
)
def test_the_listener_is_open_without_an_authorization_and_without_networks(
    load_text: Loader, keys: str, is_open: bool
) -> None:
    assert in_force_of(load_text(f"{CLIENT}[listener]\n{keys}")).access.is_open is is_open


def test_the_ledger_decides_by_the_rules_of_the_same_settings(load_text: Loader) -> None:
    settings = load_text(CLIENT + '[reconcile]\ncallback_timeout = "1m"')
    assert in_force_of(settings).rules == rules(settings)


def test_a_process_is_leased_for_every_exchange_that_one_call_can_take(load_text: Loader) -> None:
    """Token, call, new token after a 401, call again: each may take the whole time-out."""
    assert in_force_of(load_text(CLIENT + 'timeout = "3s"')).call_lease == 12_000


def test_no_secret_shows_in_its_repr(load_text: Loader) -> None:
    settings = load_text(CLIENT + '[listener]\nauthorization = ["Bearer canary-one"]')
    held = in_force_of(settings)
    assert held.secrets.assure_client_secret == "canary-client"
    assert "canary" not in repr(held)
    assert "canary" not in repr(held.access)
