"""The daemon of each test, and the certificates that its far sides may show."""

import os
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.certificates import NEW, run_openssl
from tests.clock import PlayedClock
from tests.faults.far_side import FarSide
from tests.faults.faults import APPLICATION, ASSURE, TOKEN, Stage
from tests.faults.house import House, WellApplication, WellAssure

Build = Callable[..., Awaitable[House]]

_OPENSSL = """\
[req]
prompt = no
distinguished_name = name
[name]
CN = Test
[ca]
subjectKeyIdentifier = hash
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
[here]
basicConstraints = critical, CA:FALSE
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost
[elsewhere]
basicConstraints = critical, CA:FALSE
authorityKeyIdentifier = keyid
subjectAltName = DNS:elsewhere.example
"""


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, and certificates of one key: well, expired, name and other."""
    folder = tmp_path_factory.mktemp("authority")
    sign = "x509 -req -in key.csr -CAcreateserial -extfile openssl.cnf"
    commands = (
        f"{NEW} -x509 -extensions ca -days 2 -keyout ca.key -out ca.pem",
        f"{NEW} -x509 -extensions ca -days 2 -keyout stranger.key -out stranger.pem",
        f"{NEW} -keyout key.pem -out key.csr",
        f"{sign} -CA ca.pem -CAkey ca.key -days 2 -extensions here -out well.pem",
        f"{sign} -CA ca.pem -CAkey ca.key -days -1 -extensions here -out expired.pem",
        f"{sign} -CA ca.pem -CAkey ca.key -days 2 -extensions elsewhere -out name.pem",
        f"{sign} -CA stranger.pem -CAkey stranger.key -days 2 -extensions here -out other.pem",
    )
    run_openssl(folder, _OPENSSL, commands)
    return folder


@pytest.fixture(scope="session")
def certificates(authority: Path) -> Mapping[str, ssl.SSLContext]:
    """The TLS of a server with each certificate."""
    made = {}
    for name in ("well", "expired", "name", "other"):
        made[name] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made[name].load_cert_chain(authority / f"{name}.pem", authority / "key.pem")
    return made


@pytest.fixture
def stage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stage]:
    """Return the things that a fault needs; ``over_tls``: with certificates."""

    def make(*, over_tls: bool) -> Stage:
        shown = request.getfixturevalue("certificates") if over_tls else {}
        return Stage(monkeypatch, shown)

    return make


@pytest.fixture(autouse=True)
def _no_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust none of this machine's authorities: to load them takes longer than most tests."""
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    monkeypatch.setenv("SSL_CERT_DIR", os.devnull)


@pytest.fixture
def clock() -> PlayedClock:
    """The daemon's clock: wall time stands still until a test moves it."""
    return PlayedClock(runs=True)


@pytest.fixture
def well_assure(clock: PlayedClock) -> WellAssure:
    return WellAssure(clock)


@pytest.fixture
def well_application() -> WellApplication:
    return WellApplication()


@pytest.fixture
async def build(
    tmp_path: Path,
    empty_store: Path,
    clock: PlayedClock,
    request: pytest.FixtureRequest,
    well_assure: WellAssure,
    well_application: WellApplication,
) -> AsyncIterator[Build]:
    """Start a daemon between far sides that are well; ``over_tls``: all of them speak TLS."""
    async with AsyncExitStack() as stack:

        async def start(*, over_tls: bool = False) -> House:
            tls, ca_file = None, ""
            if over_tls:
                tls = request.getfixturevalue("certificates")["well"]
                ca_file = str(request.getfixturevalue("authority") / "ca.pem")
            answers = {
                ASSURE: well_assure.call,
                TOKEN: well_assure.token,
                APPLICATION: well_application.take,
            }
            far = {name: FarSide(answer, tls) for name, answer in answers.items()}
            for side in far.values():
                await side.open(tls)
                stack.push_async_callback(side.close)
            shutil.copy(empty_store, tmp_path / "store.db")
            house = House(tmp_path, far, clock, ca_file=ca_file)
            await house.start()
            stack.push_async_callback(house.stop)
            return house

        yield start


@pytest.fixture
async def house(build: Build) -> House:
    """A daemon whose far sides are well, over plain HTTP."""
    return await build()
