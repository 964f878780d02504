"""The scripted Assure: knows the truth about each process, and fails as the plan says."""

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

import orjson

from tests.simulation.http import Reply, Request
from tests.simulation.plan import FAULTS_END, Callback, Plan, Subject, Window
from tests.simulation.virtual_time import World

TOKEN_PATH = "/token"
SURELY_LEASED = 10.0
"""Seconds after the begin of a call in which its lease holds, whatever has happened to its
daemon."""

_PROCESS = re.compile(r"/assure/dossiers/([^/]+)/processes/([^/]+?)(/notify)?")


class Look(NamedTuple):
    """An answer of Get process that was whole."""

    at: float
    word: str
    is_final: bool


@dataclass(slots=True)
class Facts:
    """Everything that the invariants want to know of Assure's side."""

    arrivals: list[float] = field(default_factory=list)
    """When calls came, tokens aside."""
    looks: dict[str, list[Look]] = field(default_factory=lambda: defaultdict(list))
    twice: list[str] = field(default_factory=list)
    """Processes about which two calls of one daemon were out at once."""
    calls: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


class Assure:
    """Answers calls and sends callbacks."""

    def __init__(
        self, plan: Plan, world: World, draw: Random, post: Callable[[Subject, Callback], None]
    ) -> None:
        """``post`` brings a callback to the daemon, or loses it where none runs."""
        self._plan = plan
        self._world = world
        self._draw = draw
        self._post = post
        self._subjects = {subject.process_id: subject for subject in plan.subjects}
        self._tokens: dict[str, float] = {}
        self._out: dict[tuple[int, str], float] = {}
        """When the calls that are out began, by daemon and process."""
        self.facts = Facts()
        for subject in plan.subjects:
            for callback in subject.callbacks:
                world.at(callback.at, lambda s=subject, c=callback: post(s, c))  # type: ignore[misc]

    def serve(self, request: Request) -> Reply:
        """Answer one request."""
        reply = self._token() if request.path == TOKEN_PATH else self._call(request)
        said = reply.fault or reply.status
        self._world.say("assure", f"{request.method} {request.path} -> {said}")
        return reply

    def ended(self, request: Request) -> None:
        """Note that a call is no longer out."""
        self._out.pop((request.life, request.path), None)

    def _call(self, request: Request) -> Reply:
        now = self._world.now
        self.facts.arrivals.append(now)
        found = _PROCESS.fullmatch(request.path)
        assert found is not None, request.path
        subject = self._subjects[found[2]]
        self.facts.calls[subject.process_id].append(now)
        self._note_twice(subject, request)
        self._out[request.life, request.path] = now
        fault = self._fault()
        if fault and not fault.startswith("token"):
            return self._failed(fault, request, subject)
        if not self._is_good(request.headers["Authorization"]):
            return Reply(401)
        if found[3]:
            return self._notify(subject)
        return self._process(subject)

    def _note_twice(self, subject: Subject, request: Request) -> None:
        """Note a call while another is out: of this daemon, or under the lease of a killed one."""
        for (life, path), begun in self._out.items():
            is_leased = life == request.life or self._world.now < begun + SURELY_LEASED
            if is_leased and subject.process_id in path.split("/"):
                self.facts.twice.append(subject.process_id)

    def _process(self, subject: Subject) -> Reply:
        now = self._world.now
        if subject.deleted_at is not None and subject.deleted_at <= now:
            return Reply(404)
        word, is_final = subject.word(now)
        answer = {"status": word, "provider": subject.provider, "createdAt": None}
        if is_final:
            answer["finalResult"] = word  # any value
        self.facts.looks[subject.process_id].append(Look(now, word, is_final))
        return Reply(200, orjson.dumps(answer), seconds=self._seconds())

    def _notify(self, subject: Subject) -> Reply:
        now = self._world.now
        word, is_final = subject.word(now)
        if subject.deleted_at is not None and subject.deleted_at <= now:
            return Reply(404)
        if not is_final:
            return Reply(self._draw.choice((200, 409)), seconds=self._seconds())
        if self._draw.random() >= self._plan.notify_is_deaf:
            again = Callback(now + self._draw.expovariate(1 / 5.0), word, subject.dossier_id)
            self._world.at(again.at, lambda: self._post(subject, again))
        return Reply(self._draw.choice((200, 202, 204)), seconds=self._seconds())

    def _failed(self, fault: str, request: Request, subject: Subject) -> Reply:
        """Return the reply of a fault; what is lost on the way back has been done all the same."""
        match fault:
            case "refused":
                return Reply(fault=fault, seconds=0.001)
            case "hang" | "reset":
                if request.path.endswith("/notify"):
                    self._notify(subject)
                return Reply(fault=fault)
            case "cut":
                return Reply(200, b'{"id": "1", "sta', fault=fault)
            case "garbage":
                return Reply(200, self._draw.randbytes(40))
            case "html":
                return Reply(200, b"<html>Welcome</html>")
            case "not_json":
                return Reply(200, b'{"status": ')
            case "redirect":
                return Reply(302)
            case "429" | "503":
                wait = self._draw.choice((None, "0", "7", "600", "rubbish"))
                return Reply(int(fault), headers={"Retry-After": wait} if wait else {})
            case _:
                return Reply(int(fault))

    def _token(self) -> Reply:
        match self._fault():
            case "token_401":
                return Reply(401, b'{"error": "invalid_client"}')
            case "token_500":
                return Reply(500)
            case "token_garbage":
                return Reply(200, b"<html>")
            case "refused" | "hang" as fault if self._draw.random() < 0.5:
                return Reply(fault=fault)
        lifetime = self._draw.choice((1, 60, 300, 3600))
        token = f"t{len(self._tokens)}"
        # Some are refused long before their end, as after a restart of the provider.
        good_for = lifetime if self._draw.random() < 0.9 else lifetime * self._draw.random()
        self._tokens[f"Bearer {token}"] = self._world.now + good_for
        answer = {"access_token": token, "expires_in": lifetime, "token_type": "Bearer"}
        return Reply(200, orjson.dumps(answer))

    def _is_good(self, authorization: str) -> bool:
        return self._tokens.get(authorization, 0.0) > self._world.now

    def _fault(self) -> str | None:
        now = self._world.now
        window = within(self._plan.assure, now)
        if window is None and now < FAULTS_END and self._draw.random() < self._plan.flakiness:
            return self._draw.choice(("refused", "reset", "hang", "500", "503", "429", "garbage"))
        return window

    def _seconds(self) -> float:
        return self._draw.choice((0.05, 0.05, 0.2, 3.0))


def within(windows: list[Window], now: float) -> str | None:
    """Return the fault that lasts at a time."""
    return next((each.fault for each in windows if each.begin <= now < each.end), None)
