"""The simulator's tokens: OAuth 2.0 client credentials with HTTP Basic (RFC 6749, 2.3.1, 4.4)."""

import base64
import secrets
from hmac import compare_digest
from urllib.parse import quote_plus

from reconciler.runtime.clock import Clock

TOKEN_PREFIX = "canary-token-"  # noqa: S105 - the mark that leak tests look for, not a secret


class Tokens:
    """The issued tokens and when they expire; `lifetime` in seconds."""

    def __init__(self, client_id: str, client_secret: str, lifetime: int, clock: Clock) -> None:
        # The RFC form-encodes both before Basic; many clients do not. Both are taken.
        self._accepted = {
            _basic(client_id, client_secret),
            _basic(quote_plus(client_id), quote_plus(client_secret)),
        }
        self._lifetime = lifetime
        self._clock = clock
        self._expires: dict[str, float] = {}

    def knows_client(self, authorization: str) -> bool:
        """Tell whether the Authorization header holds our client's id and secret."""
        given = authorization.encode(errors="backslashreplace")
        return any(compare_digest(given, accepted) for accepted in self._accepted)

    def issue(self) -> dict[str, object]:
        """Return a fresh token, as the token endpoint answers it."""
        now = self._clock.monotonic()
        self._expires = {t: expiry for t, expiry in self._expires.items() if expiry > now}
        token = TOKEN_PREFIX + secrets.token_hex(16)
        self._expires[token] = now + self._lifetime
        return {"access_token": token, "expires_in": self._lifetime, "token_type": "Bearer"}

    def accepts(self, authorization: str) -> bool:
        """Tell whether the Authorization header bears an issued token that has not expired."""
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and self._expires.get(token, 0) > self._clock.monotonic()


def _basic(client_id: str, client_secret: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{client_id}:{client_secret}".encode())
