from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.outbound.retry_after import retry_after

NOW = datetime(1994, 11, 6, 8, 49, 7, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("-5", 0),
        ("3601", 3600),
        ("9" * 6000, 3600),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 30),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 30),
        ("Sun Nov  6 08:49:37 1994", 30),
        ("Sun, 06 Nov 1994 08:48:00 GMT", 0),
        ("Mon, 07 Nov 1994 08:49:37 GMT", 3600),
        ("", None),
        ("soon", None),
        ("1.5", None),
        ("٣", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
    ],
)
def test_a_header_is_read_as_seconds(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@given(
    st.one_of(
        st.text(), st.from_regex(r"[A-Z][a-z]{2},? ?[0-9]{0,3}[ -][A-Z][a-z]{2}[ :0-9+-]{0,30}")
    )
)
def test_whatever_the_header_holds_it_is_a_bounded_wait_or_nothing(header: str) -> None:
    wait = retry_after(header, NOW)
    assert wait is None or 0 <= wait <= 3600
