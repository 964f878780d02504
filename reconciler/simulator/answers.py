"""Decides the answer of the simulated Assure to one call, by its state and the faults. No I/O."""

from dataclasses import dataclass, field
from typing import Literal

import orjson

from reconciler.simulator.odd_json import ODDITIES
from reconciler.simulator.process import CANARY_NAME, SimProcess
from reconciler.simulator.world import World

ApiKind = Literal["fetch", "notify"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. Status 0: none at all. `huge`: the body, a JSON object, is padded."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    huge: bool = False


SILENCE = Answer(0)


def answer(
    world: World, kind: ApiKind, dossier_id: str, process_id: str, *, authorized: bool
) -> Answer:
    """Answer one API call and count it; an accepted Notify plans its callback.

    Faults of the connection win over those of the platform, which win over those of a process.
    """
    faults = world.faults
    process = world.processes.get(process_id)
    ordinal = _counted(process, kind)
    if faults.drop or world.hits("hang", process_id, ordinal):
        return SILENCE
    if faults.down:
        return error(503, "unavailable", "the API is down")
    if faults.unauthorized_once:
        faults.unauthorized_once -= 1
        return error(401, "unauthorized", "the token was refused")
    if not authorized:
        return error(401, "unauthorized", "no token, an unknown one or an expired one")
    if world.hits("throttle", process_id, ordinal):
        return _throttled(faults.retry_after)
    if world.hits("server_error", process_id, ordinal):
        return error(503, "unavailable", "this call was chosen to fail")
    if faults.redirect:
        return Answer(302, headers={"Location": "/login"})
    if process_id in faults.forbidden:
        return error(403, "forbidden", "no permission for this process")
    if process is None or process.dossier_id != dossier_id or process_id in faults.missing:
        return error(404, "not_found", "no such process in this dossier")
    return _fetched(world, process) if kind == "fetch" else _notified(world, process)


def error(status: int, code: str, detail: str) -> Answer:
    """Return an error of the simulated API.

    It names an invented person too, as bodies of errors may: another canary for the leak tests.
    """
    return Answer(
        status, orjson.dumps({"error": code, "detail": detail, "subject": {"name": CANARY_NAME}})
    )


def _counted(process: SimProcess | None, kind: ApiKind) -> int:
    """Count the arrival and return the number of earlier calls: the ordinal of this one."""
    if process is None:
        return 0
    ordinal = process.fetches + process.notifies
    if kind == "fetch":
        process.fetches += 1
    else:
        process.notifies += 1
    return ordinal


def _throttled(retry_after: str) -> Answer:
    refusal = error(429, "too_many_requests", "slow down")
    if retry_after:
        refusal.headers["Retry-After"] = retry_after
    return refusal


def _fetched(world: World, process: SimProcess) -> Answer:
    body = orjson.dumps(process.told(final=world.shows_final(process)))
    if world.faults.garbage:
        return Answer(200, body[: len(body) // 2])
    if world.faults.huge:
        return Answer(200, body, huge=True)
    return Answer(200, ODDITIES[world.faults.odd_json](body))


def _notified(world: World, process: SimProcess) -> Answer:
    if not process.finished:
        return error(409, "not_finished", "the process is not finished")
    status = world.faults.notify_status or 204
    if status >= 300:
        return error(status, "refused", "every Notify is answered so")
    world.notify(process)
    return Answer(status)
