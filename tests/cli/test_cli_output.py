"""How values are written for people."""

from __future__ import annotations

import pytest

from reconciler.cli.output import aligned, duration, moment, plain, when

NOW = 1_772_323_200_000
"""2026-03-01T00:00:00Z in milliseconds."""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.012, "12ms"),
        (0.9996, "1s"),
        (1.2, "1s"),
        (59.4, "59s"),
        (60, "1m"),
        (61, "1m 1s"),
        (3600, "1h"),
        (3605, "1h"),
        (3725, "1h 2m"),
        (86_400 * 3 + 3600 * 4 + 60, "3d 4h"),
        (86_400 * 400, "400d"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (None, "-"),
        ("2026-03-01T00:00:00.000Z", "0s ago"),
        ("2026-02-28T23:57:58.000Z", "2m 2s ago"),
        ("2026-03-01T00:15:00.000Z", "in 15m"),
    ],
)
def test_a_time_is_told_as_it_is_seen_from_now(at: str | None, text: str) -> None:
    assert when(at, NOW) == text


def test_a_moment_is_utc() -> None:
    assert moment("2026-03-01T01:00:00.500+01:00") == "2026-03-01 00:00:00Z"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        ("plain ä 日", "plain ä 日"),
        ("a\x1b[31m\r\n\tb", r"a\x1b[31m\r\n\tb"),
        ("\u202e\u2028\u200b\x85", r"\u202e\u2028\u200b\x85"),
        ("\udcff", r"\udcff"),
        ("back\\slash", "back\\slash"),
        ("[bold]", "[bold]"),
    ],
)
def test_what_is_not_printable_is_escaped(value: object, text: str) -> None:
    assert plain(value) == text


def test_columns_stand_under_each_other_also_with_wide_characters() -> None:
    assert aligned([("id", "state", "x"), ("日本", "ok", None), ("p", "waiting", "")]) == [
        "id    state    x",
        "日本  ok       -",
        "p     waiting",
    ]


def test_no_rows_are_no_lines() -> None:
    assert aligned([]) == []
