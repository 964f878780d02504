"""The description of the admin API, as OpenAPI 3.1. A test holds it against the routes."""

from typing import Any

from reconciler import __version__
from reconciler.ledger import SettledBy, State, Verb
from reconciler.ledger.identifiers import CONTROL_CHARACTERS, LONGEST
from reconciler.store.delivery_row import DeliveryState

Schema = dict[str, Any]

MOST_AT_ONCE = 1_000
"""Processes in one array: it is one transaction, and the inbox waits behind it."""

LARGEST_PAGE = 1_000
PAGE = 100
"""Processes on a page when no limit is given."""

_FIT: Schema = {
    "minLength": 1,
    "maxLength": LONGEST,
    "pattern": f"^{CONTROL_CHARACTERS.replace('[', '[^')}*$",
}
_ID: Schema = {"type": "string", **_FIT, "not": {"enum": [".", ".."]}}
_GIVEN_TEXT: Schema = {"type": ["string", "null"], **_FIT}
_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
_TEXT: Schema = {"type": ["string", "null"]}
_WORD: Schema = {"type": "string"}
_WORDS: Schema = {"type": "array", "items": _WORD}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def _object(properties: Schema, *, required: tuple[str, ...] | None = None) -> Schema:
    names = list(properties) if required is None else list(required)
    return {"type": "object", "properties": properties, "required": names}


_PROCESS = _object(
    {
        "processId": _ID,
        "dossierId": _ID,
        "provider": _TEXT,
        "processType": _TEXT,
        "reference": _TEXT,
        "state": {"enum": [str(state) for state in State]},
        "status": _TEXT,
        "settledBy": {"enum": [*(str(by) for by in SettledBy), None]},
        "createdAt": _TIME,
        "registeredAt": _TIME,
        "callbackAt": _TIME,
        "claimedStatus": _TEXT,
        "settledAt": _TIME,
        "revision": _COUNT,
        "nextCheckAt": _TIME,
        "notifyAttempts": _COUNT,
        "fetchAttempts": _COUNT,
        "lastError": _TEXT,
        "endedAt": _TIME,
    }
)
_ENTRY = _object({"at": _TIME, "event": _WORD})
_REGISTRATION = {
    **_object(
        {
            "dossierId": _ID,
            "processId": _ID,
            "provider": _GIVEN_TEXT,
            "processType": _GIVEN_TEXT,
            "reference": _GIVEN_TEXT,
            "createdAt": _TIME,
        },
        required=("dossierId", "processId"),
    ),
    "additionalProperties": False,
}
_BREAKER: Schema = {"enum": ["closed", "open", "probing"]}
_INSTANCE = _object(
    {
        "id": _WORD,
        "host": _WORD,
        "pid": _COUNT,
        "version": _WORD,
        "startedAt": _TIME,
        "heartbeatAt": _TIME,
        "breaker": _BREAKER,
    }
)
_STATUS = _object(
    {
        "states": _object({str(state): _COUNT for state in State}),
        "oldestOverdueSeconds": {"type": ["number", "null"]},
        "oldestReportedSeconds": {"type": ["number", "null"]},
        "lastCallbackAt": _TIME,
        "lastSweepAt": _TIME,
        "breaker": {"enum": [*_BREAKER["enum"], None]},
        "outbox": _object({"pending": _COUNT, "dead": _COUNT}),
        "spooled": _COUNT,
        "instances": {"type": "array", "items": _INSTANCE},
    }
)
_DELIVERY = _object(
    {
        "id": _WORD,
        "processId": _ID,
        "type": _WORD,
        "state": {"enum": [str(state) for state in DeliveryState]},
        "attempts": _COUNT,
        "createdAt": _TIME,
        "nextAttemptAt": _TIME,
        "deliveredAt": _TIME,
        "lastError": _TEXT,
    }
)
_LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE}
_REF = {name: {"$ref": f"#/components/schemas/{name}"} for name in ("Process", "Registration")}
_PROCESS_ID = {"name": "processId", "in": "path", "required": True, "schema": _ID}


def _content(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _text(description: str, *kinds: str) -> Schema:
    return {"description": description, "content": {kind: {"schema": _WORD} for kind in kinds}}


def _says(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": _content(schema)}


_BROWSERS = "To look (GET), it may also be the password of HTTP Basic, with any user: for browsers."
_ERROR = _object({"error": _WORD, "detail": _WORD})
_ERRORS: Schema = {
    "400": _says("The request is not as it should be; `detail` says how.", _ERROR),
    "401": _says("The bearer token is missing or wrong.", _ERROR),
    "403": _says("A foreign Host or Origin.", _ERROR),
    "405": _says("The path does not take that method.", _ERROR),
    "503": _says("The store does not answer just now.", _ERROR),
}
_TOO_LARGE = _says("The body is too large.", _ERROR)
_UNKNOWN = _says("No such process is on the ledger.", _ERROR)


def _operation(summary: str, responses: Schema, **more: Any) -> Schema:
    return {"summary": summary, "responses": {**responses, **_ERRORS}, **more}


def _query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def openapi() -> Schema:
    """Return the document that ``GET /openapi.json`` answers."""
    live = _object({"live": {"type": "boolean"}, "stale": _WORDS})
    ready = _object(
        {"ready": {"type": "boolean"}, "degraded": _WORDS, "reason": _TEXT},
        required=("ready", "degraded"),
    )
    page = _object({"items": {"type": "array", "items": _REF["Process"]}, "nextCursor": _TEXT})
    outbox = _object({"items": {"type": "array", "items": _DELIVERY}, "nextCursor": _TEXT})
    delivery_states = {"enum": [str(state) for state in DeliveryState]}
    counted = _object({"created": _COUNT, "known": _COUNT})
    several = {"type": "array", "items": _REF["Registration"], "maxItems": MOST_AT_ONCE}
    either = {"oneOf": [_REF["Registration"], several]}
    verb = {"enum": [*(str(verb) for verb in Verb), None]}
    recheck = {**_object({"verb": verb}, required=()), "additionalProperties": False}
    detail = {"allOf": [_REF["Process"], _object({"timeline": {"type": "array", "items": _ENTRY}})]}
    health: Schema = {"security": []}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "assure-reconciler",
            "version": __version__,
            "description": "The ledger of Assure processes: register, list, look, recheck, forget.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": {
            "/live": {
                "get": {
                    "summary": "Whether every loop ticks",
                    "responses": {
                        "200": _says("Yes.", live),
                        "403": _ERRORS["403"],
                        "405": _ERRORS["405"],
                        "503": _says("No; `stale` names the loops.", live),
                    },
                    **health,
                }
            },
            "/ready": {
                "get": {
                    "summary": "Whether a callback would be answered 200",
                    "responses": {
                        "200": _says("Yes; `degraded` names what is not as it should be.", ready),
                        "403": _ERRORS["403"],
                        "405": _ERRORS["405"],
                        "503": _says("No, for `reason`.", ready),
                    },
                    **health,
                }
            },
            "/metrics": {
                "get": _operation(
                    "For Prometheus",
                    {
                        "200": _text(
                            "Every metric that has a value.",
                            "text/plain",
                            "application/openmetrics-text",
                        )
                    },
                )
            },
            "/": {
                "get": {
                    "summary": "The status page, for people",
                    "responses": {
                        **_ERRORS,
                        "200": _text("The whole on one page.", "text/html"),
                        "503": _text("The same, without the store's part.", "text/html"),
                    },
                }
            },
            "/openapi.json": {
                "get": _operation("This document", {"200": _says("OpenAPI.", {"type": "object"})})
            },
            "/v1/status": {
                "get": _operation("The ledger in numbers", {"200": _says("Numbers.", _STATUS)})
            },
            "/v1/processes": {
                "post": _operation(
                    "Put one process or an array of them on the ledger, whole or not at all",
                    {
                        "200": _says("All were known.", counted),
                        "201": _says("At least one is new.", counted),
                        "409": _says("Known with another dossierId.", _ERROR),
                        "413": _TOO_LARGE,
                    },
                    requestBody={"required": True, "content": _content(either)},
                ),
                "get": _operation(
                    "A page of the ledger, the newest first",
                    {"200": _says("A page.", page)},
                    parameters=[
                        _query("state", {"enum": [str(s) for s in State]}, "only this state"),
                        _query(
                            "settledSince",
                            {"type": "string", "format": "date-time"},
                            "settled since then, the earliest first",
                        ),
                        _query("limit", _LIMIT, f"how many; {PAGE} if not given"),
                        _query("cursor", _WORD, "`nextCursor` of the page before"),
                    ],
                ),
            },
            "/v1/processes/{processId}": {
                "get": _operation(
                    "One process with its timeline",
                    {"200": _says("The process.", detail), "404": _UNKNOWN},
                    parameters=[_PROCESS_ID],
                ),
                "delete": _operation(
                    "Remove everything about a process",
                    {"204": {"description": "It is forgotten."}, "404": _UNKNOWN},
                    parameters=[_PROCESS_ID],
                ),
            },
            "/v1/processes/{processId}/recheck": {
                "post": _operation(
                    "Make a process due now",
                    {
                        "202": _says("It is due.", _object({"processId": _ID, "verb": verb})),
                        "404": _UNKNOWN,
                        "413": _TOO_LARGE,
                    },
                    parameters=[_PROCESS_ID],
                    requestBody={"required": False, "content": _content(recheck)},
                )
            },
            "/v1/deliveries": {
                "get": _operation(
                    "A page of the outbox, the newest first",
                    {"200": _says("A page.", outbox)},
                    parameters=[
                        _query("state", delivery_states, "only this state"),
                        _query("limit", _LIMIT, f"how many; {PAGE} if not given"),
                        _query("cursor", _WORD, "`nextCursor` of the page before"),
                    ],
                )
            },
            "/v1/deliveries/{id}/redeliver": {
                "post": _operation(
                    "Have a delivery sent again, under the same webhook-id",
                    {
                        "202": _says("It is due.", _object({"id": _WORD})),
                        "404": _says("No such delivery is in the outbox.", _ERROR),
                    },
                    parameters=[{"name": "id", "in": "path", "required": True, "schema": _WORD}],
                )
            },
        },
        "components": {
            "schemas": {"Process": _PROCESS, "Registration": _REGISTRATION},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": _BROWSERS}
            },
        },
    }
