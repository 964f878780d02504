"""A stand-in for the Assure API on loopback, with faults on demand.

For development, `reconciler demo`, tests and benchmarks: Assure is simulated, the sockets are
real. `World` is the simulated state, `Faults` its knobs, `Simulator` the server.
"""

from reconciler.simulator.calls import Call
from reconciler.simulator.faults import FaultError, Faults
from reconciler.simulator.process import CANARIES, CANARY_NAME, SimProcess
from reconciler.simulator.server import Simulator
from reconciler.simulator.tokens import TOKEN_PREFIX
from reconciler.simulator.world import World

__all__ = [
    "CANARIES",
    "CANARY_NAME",
    "TOKEN_PREFIX",
    "Call",
    "FaultError",
    "Faults",
    "SimProcess",
    "Simulator",
    "World",
]
