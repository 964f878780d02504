"""The scripted application: takes deliveries, and fails as the plan says."""

from collections import defaultdict
from random import Random
from typing import Any

import orjson

from tests.simulation.assure import within
from tests.simulation.http import Reply, Request
from tests.simulation.plan import FAULTS_END, Plan
from tests.simulation.virtual_time import World


class Application:
    """Remembers what it was told, in order."""

    def __init__(self, plan: Plan, world: World, draw: Random) -> None:
        self._plan = plan
        self._world = world
        self._draw = draw
        self.told: dict[str, list[dict[str, Any]]] = defaultdict(list)
        """The deliveries that it has processed, whether or not its answer arrived."""

    def serve(self, request: Request) -> Reply:
        """Take one delivery."""
        now = self._world.now
        fault = within(self._plan.application, now)
        if fault is None and now < FAULTS_END and self._draw.random() < self._plan.flakiness:
            fault = self._draw.choice(("reset", "hang", "500", "429"))
        body = orjson.loads(request.body)
        process_id = body["data"]["processId"]
        self._world.say("application", f"{body['type']} {process_id} -> {fault or 200}")
        if fault is None or (fault in {"reset", "hang"} and self._draw.random() < 0.5):
            self.told[process_id].append(body)
        if fault is None:
            return Reply(200, seconds=self._draw.choice((0.01, 0.2, 5.0)))
        if fault in {"refused", "reset", "hang"}:
            return Reply(fault=fault)
        headers = {"Retry-After": "30"} if fault in {"429", "503"} else {}
        return Reply(int(fault), headers=headers)

    def ended(self, request: Request) -> None:
        """Do nothing: how long somebody waits does not matter here."""
