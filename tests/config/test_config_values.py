import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.config import ListenAddress, format_duration, parse_duration
from reconciler.config.addresses import Cidr, is_loopback


@given(st.integers(min_value=0, max_value=10**12))
def test_every_duration_survives_being_written_and_read(ms: int) -> None:
    assert parse_duration(format_duration(ms)) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("500ms", 500),
        ("30s", 30_000),
        ("15m", 900_000),
        ("90m", 5_400_000),
        ("1h30m", 5_400_000),
        ("7d", 604_800_000),
        ("1m1ms", 60_001),
        ("0s", 0),
    ],
)
def test_a_duration_is_a_sum_of_units(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    "text",
    ["", "5", "m", "1.5h", "-1s", "1h 30m", "30m1h", "1H", "1w", "1s1s", " 1s", "1s\n", "\u0661s"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write one such as"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0s"), (5_400_000, "1h30m"), (604_800_000, "7d"), (1_500, "1s500ms")]
)
def test_a_duration_is_written_with_its_largest_units(ms: int, text: str) -> None:
    assert format_duration(ms) == text


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9180", ListenAddress("127.0.0.1", 9180)),
        ("localhost:0", ListenAddress("localhost", 0)),
        ("[::1]:9180", ListenAddress("::1", 9180)),
        ("unix:/run/admin.sock", ListenAddress(unix="/run/admin.sock")),
        ("", ListenAddress()),
    ],
)
def test_a_listen_address_is_read_and_written_the_same(text: str, address: ListenAddress) -> None:
    assert ListenAddress.parse(text) == address
    assert str(address) == text
    assert address.private


@pytest.mark.parametrize("text", ["0.0.0.0:1", "[::]:1", "example.com:1", "192.0.2.1:1"])
def test_an_address_that_others_can_reach_is_not_private(text: str) -> None:
    assert not ListenAddress.parse(text).private


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("api.localhost", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost.example.com", False),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback_is_only_what_cannot_leave_the_machine(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.1", "10.0.0.1/32"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_of_ipv4_addresses_is_one_however_it_is_written(text: str, network: str) -> None:
    assert str(Cidr.parse(text)) == network
