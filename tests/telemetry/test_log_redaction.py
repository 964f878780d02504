"""Canaries go into the log by every path; none may come out."""

import json
import logging
import warnings
from collections.abc import Callable
from urllib.parse import quote, urlencode

import aiohttp
import pydantic
import pytest
import sqlalchemy.exc
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from reconciler.telemetry.logging import LogSystem
from reconciler.telemetry.redact import MASK, Redactor

Record = Callable[..., str]
Path = Callable[[LogSystem, str], object]

CLIENT_SECRET = "cs-canary-1f9a"
AUTHORIZATION = "Custom canary of two words"
WITH_ESCAPES = 'ca"na\\ry/ä 100%'
HIDDEN = (CLIENT_SECRET, AUTHORIZATION, WITH_ESCAPES)

KNOWN = {
    "the client secret": (CLIENT_SECRET, CLIENT_SECRET),
    "an Authorization value": (AUTHORIZATION, "canary"),
    "a secret that needs escaping": (WITH_ESCAPES, "na\\"),
}
"""Credentials of the configuration, which may come out nowhere."""

BY_LOOK = {
    "a signing secret": ("whsec_Q2FuYXJ5Q2FuYXJ5", "Q2FuYXJ5"),
    "the password of a URL": ("postgresql://me:pw/can@ary@db.example/x", "ary@"),
    "a bearer token": ("Authorization: Bearer eyJcanary.x.y", "canary"),
    "basic credentials": ("basic Y2FuYXJ5", "Y2FuYXJ5"),
    "a form body": ("grant_type=x&client_secret=canary&scope=y", "canary"),
    "a JSON answer": ('{"access_token": "canary", "expires_in": 1}', "canary"),
    "raw headers": ("((b'Authorization', b'canary'), (b'a', b'b'))", "canary"),
    "cookies": ("Cookie: a=canary; b=canary", "canary"),
}


class ConfigError(Exception):
    """An exception whose repr is not its message."""

    def __init__(self, secret: str) -> None:
        super().__init__("short words")
        self.secret = secret

    def __repr__(self) -> str:
        return f"ConfigError({self.secret!r})"


class Holder:
    """An object whose text holds a secret."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __str__(self) -> str:
        return f"<Holder {self.secret!r}>"


def fail(error: Exception) -> None:
    raise error


def raised(system: LogSystem, error: Exception, *, secret: str = "") -> None:
    local = [secret]
    try:
        fail(error)
    except Exception:
        system.logger.exception("job_failed", count=len(local))


def warn(_system: LogSystem, secret: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"about {secret}", stacklevel=1)


def stdlib_failure(_system: LogSystem, secret: str) -> None:
    try:
        fail(RuntimeError(secret))
    except RuntimeError:
        logging.getLogger("aiohttp.server").exception("Error handling request from %s", secret)


OURS: dict[str, Path] = {
    "a field": lambda system, secret: system.logger.info("ready", note=secret),
    "the bound context": lambda system, secret: system.logger.bind(note=secret).info("ready"),
}
"""Paths for words and ids of ours, where a look-alike is no credential."""

OF_OTHERS: dict[str, Path] = {
    "the reason of an error of ours": lambda system, secret: system.logger.error(
        "store_unavailable", reason=f"cannot reach {secret}"
    ),
    "the text of an error of ours": lambda system, secret: system.logger.error(
        "result_not_recorded", error=f"cannot write {secret}"
    ),
    "a problem of the configuration": lambda system, secret: system.logger.error(
        "config_reload_failed", problems=["store.url is empty", f"store.url {secret}", "and so on"]
    ),
    "what a registration changes": lambda system, secret: system.logger.info(
        "process_updated", field="reference", was=secret, now=f"not {secret}"
    ),
    "the event itself": lambda system, secret: system.logger.info(f"got {secret}"),
    "an interpolated event": lambda system, secret: system.logger.info("got %s", secret),
    "a nested value": lambda system, secret: system.logger.info(
        "ready", a={"b": [{"c": (secret, 1, 2)}], "d": {secret}}
    ),
    "a nested key": lambda system, secret: system.logger.info("ready", a={secret: 1}),
    "an object": lambda system, secret: system.logger.info("ready", a=Holder(secret)),
    "the repr of an exception": lambda system, secret: system.logger.info(
        "ready", error=repr(ConfigError(secret))
    ),
    "an exception as a field": lambda system, secret: system.logger.info(
        "ready", error=ConfigError(secret)
    ),
    "the message of an exception": lambda system, secret: raised(system, RuntimeError(secret)),
    "the repr of a raised exception": lambda system, secret: raised(system, ConfigError(secret)),
    "a local variable": lambda system, secret: raised(system, KeyError("x"), secret=secret),
    "a standard-library record": lambda _system, secret: logging.getLogger("asyncio").warning(
        "slow: %s and %r", secret, [secret]
    ),
    "a standard-library record with a mapping": lambda _system, secret: logging.getLogger(
        "asyncio"
    ).warning("slow: %(what)s", {"what": secret}),
    "a standard-library traceback": stdlib_failure,
    "a warning": warn,
}


CASES = [
    pytest.param(path, secret, canary, id=f"{credential} in {place}")
    for credentials, places in ((KNOWN, OURS | OF_OTHERS), (BY_LOOK, OF_OTHERS))
    for credential, (secret, canary) in credentials.items()
    for place, path in places.items()
]


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(("path", "secret", "canary"), CASES)
def test_no_credential_gets_out(
    record: Record, path: Path, secret: str, canary: str, form: str
) -> None:
    def play(system: LogSystem) -> None:
        system.hide(HIDDEN)
        path(system, secret)
        system.logger.info("stopped")

    text = record(play, format=form)
    assert canary not in text
    assert "stopped" in text
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize(
    "key",
    ["authorization", "Authorization", "token", "access_token", "accessToken", "client_secret",
     "clientSecret", "password", "passwd", "api_key", "X-Api-Key", "cookie", "set-cookie", "body",
     "response_body", "credentials", "private_key"],
)  # fmt: skip
def test_the_value_under_a_secret_name_is_never_shown(record: Record, key: str) -> None:
    def play(system: LogSystem) -> None:
        log = system.logger
        log.info("ready", **{key: "canary"})
        log.info("ready", **{key: {"a": ["canary"]}})
        log.info("ready", a=[{"b": {key: 12345}}])
        log.info("ready", headers=[(key, "canary"), ("x", "y")])
        log.bind(**{key: "canary"}).info("ready")

    text = record(play)
    assert "canary" not in text
    assert "12345" not in text
    assert text.count(MASK) == 5


def client_response_error() -> aiohttp.ClientResponseError:
    headers = CIMultiDictProxy(CIMultiDict({"Authorization": "canary", "X-Trace": "canary"}))
    request = aiohttp.RequestInfo(URL("https://x.example/canary"), "GET", headers)
    return aiohttp.ClientResponseError(request, (), message="canary", headers=headers)


class OurError(aiohttp.ClientError):
    """A library's exception stays one under another name."""


def validation_error() -> pydantic.ValidationError:
    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(int).validate_python("canary")
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        client_response_error(),
        OurError("canary"),
        sqlalchemy.exc.StatementError("canary", "INSERT canary", ("canary",), OSError("canary")),
        validation_error(),
        ValueError("invalid literal for int() with base 10: 'the canary's body'"),
        KeyError("canary"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_data_that_an_exception_carries_is_not_shown(record: Record, error: Exception) -> None:
    def play(system: LogSystem) -> None:
        raised(system, error)
        system.logger.error("fetch_failed", error=error)
        logging.getLogger("aiohttp.client").error("failed: %s %r", error, error)
        logging.getLogger("aiohttp.client").error(error)
        logging.getLogger("aiohttp.client").error("failed", exc_info=error)

    text = record(play)
    assert "canary" not in text
    assert text.count(type(error).__name__) >= 5


@pytest.mark.parametrize("secret", HIDDEN)
def test_a_known_secret_is_found_in_its_encoded_forms(secret: str) -> None:
    redactor = Redactor()
    redactor.hide([secret])
    for encoded in (
        str(URL("https://a.example/").with_query(q=secret)),
        str(URL.build(scheme="https", host="a.example", user="me", password=secret)),
        urlencode({"q": secret}),
        quote(secret, safe=""),
        json.dumps({"q": secret}, ensure_ascii=False),
        repr({"q": secret}),
    ):
        assert MASK in redactor.text(encoded), encoded


def test_a_word_or_an_id_of_a_process_that_looks_like_a_credential_is_shown(record: Record) -> None:
    told = {"status": "basic check", "dossier_id": "token: 5", "reference": "https://a@b.example"}
    line = json.loads(record(lambda system: system.logger.info("process_settled", **told)))
    assert told.items() <= line.items()


def test_a_list_of_two_sentences_is_not_taken_for_a_header(record: Record) -> None:
    errors = ["assure.token_url: not a URL", "store.url: empty"]
    text = record(lambda system: system.logger.error("config_invalid", errors=errors))
    assert json.loads(text)["errors"] == errors


def test_bytes_are_counted_and_not_shown(record: Record) -> None:
    text = record(lambda system: system.logger.info("ready", a=[b"canary", bytearray(b"canary")]))
    assert "canary" not in text
    assert "[6 bytes]" in text


def test_a_masked_url_still_says_where() -> None:
    text = Redactor().text
    assert text("postgresql://me:secret@db/x") == f"postgresql://{MASK}@db/x"
    assert text("GET https://token@api.example:443/x") == f"GET https://{MASK}@api.example:443/x"
    for harmless in ("http://127.0.0.1:41234", "unix:/run/x.sock", "https://a.example/x?y=z#1"):
        assert text(harmless) == harmless


def test_a_secret_longer_than_a_value_may_be_is_masked_before_the_cut() -> None:
    redactor = Redactor()
    redactor.hide(["canary" * 20])
    assert "canary" not in redactor.text("x" * 4050 + "canary" * 20)


def test_the_longest_of_overlapping_secrets_is_masked_first() -> None:
    redactor = Redactor()
    redactor.hide(["abcdefgh", "abcdefghijkl"])
    redactor.hide(["somewhat-later"])
    assert redactor.text("abcdefghijkl somewhat-later abcdefgh") == f"{MASK} {MASK} {MASK}"


def test_a_very_short_secret_is_not_masked_inside_words() -> None:
    redactor = Redactor()
    redactor.hide(["order-1", ""])
    assert redactor.text("order-17 of order-1") == "order-17 of order-1"


def test_a_secret_that_is_a_common_word_does_not_spoil_the_names(record: Record) -> None:
    def play(system: LogSystem) -> None:
        system.hide(["processed", "process_settled"])
        system.logger.info("process_settled", process_id="processed-1")

    text = record(play)
    assert '"event":"process_settled"' in text
    assert f'"process_id":"{MASK}-1"' in text
