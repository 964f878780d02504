"""Under a real systemd, with the units as they are shipped."""

import json
import re
import subprocess
from typing import Any

from tests.e2e.conftest import AUTHORIZATION, PATIENCE
from tests.systemd.box import WRITTEN
from tests.systemd.conftest import BOX_CONFIG

CALLBACK = '{"dossierId": "d-1", "processId": "%s", "status": "accepted"}'


def posting(process_id: str, authorization: str = AUTHORIZATION) -> tuple[str, ...]:
    """The command that posts a callback and prints the HTTP status."""
    python = "/opt/reconciler/bin/python3"
    return (python, "-c", POST, f"Authorization: {authorization}", CALLBACK % process_id)


def post(box: Any, process_id: str, authorization: str = AUTHORIZATION) -> str:
    return str(box.run(*posting(process_id, authorization))).strip()


POST = """
import http.client, sys
name, value = sys.argv[1].split(": ", 1)
connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=60)
connection.request("POST", "/callbacks/assure", sys.argv[2], {name: value})
print(connection.getresponse().status)
"""


IN_TWO_HALVES = """
import socket, sys
authorization, body = sys.argv[1:]
with socket.create_connection(("127.0.0.1", 8080), timeout=60) as connection:
    head = f"POST /callbacks/assure HTTP/1.1\\r\\nHost: a\\r\\nAuthorization: {authorization}\\r\\n"
    head += f"Content-Length: {len(body)}\\r\\n\\r\\n"
    connection.sendall((head + body[:20]).encode())
    print("half", flush=True)
    sys.stdin.readline()
    connection.sendall(body[20:].encode())
    print(connection.recv(4096).decode())
"""


def test_it_starts_reports_ready_reads_its_credentials_and_takes_callbacks(running: Any) -> None:
    assert running.run("systemctl", "is-active", "reconciler.service") == "active\n"
    assert running.show("StatusText") == "takes callbacks on http://127.0.0.1:8080"
    assert running.show("Result") == "success"
    # The credential is what the callback must bear: it was read inside the unit.
    assert post(running, "p-1", "Bearer another") == "401"
    assert post(running, "p-1") == "200"
    assert "p-1" in running.run("reconciler", "list")
    assert running.run("systemd-analyze", "verify", "reconciler.service", "reconciler.socket") == ""


def test_it_is_killed_and_restarted_when_it_is_frozen(box: Any) -> None:
    drop_in = "/etc/systemd/system/reconciler.service.d/test.conf"
    box.write(drop_in, "[Service]\nWatchdogSec=2s\nTimeoutStopSec=5s\n")
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "start", "reconciler.socket", "reconciler.service")
    assert post(box, "p-1") == "200"
    before = box.show("MainPID")

    box.run("kill", "-STOP", before)
    box.until(lambda: box.show("NRestarts") == "1", "a restart")
    box.until(lambda: box.show("ActiveState") == "active", "the new one")

    assert post(box, "p-2") == "200"
    assert box.show("MainPID") not in (before, "0")
    journal = box.journal()
    assert "Watchdog timeout" in journal
    assert "Fatal Python error: Aborted" in journal  # and where each thread stood


def test_an_idle_one_is_not_killed(box: Any) -> None:
    box.write("/etc/systemd/system/reconciler.service.d/test.conf", "[Service]\nWatchdogSec=1s\n")
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "start", "reconciler.service")
    started = int(box.show("WatchdogTimestampMonotonic"))

    def has_pinged() -> bool:
        return int(box.show("WatchdogTimestampMonotonic")) > started + 3_000_000

    box.until(has_pinged, "pings for three times the limit")
    assert box.show("NRestarts") == "0"


def test_a_stop_drains_what_has_begun(running: Any) -> None:
    words = ["/opt/reconciler/bin/python3", "-c", IN_TWO_HALVES, AUTHORIZATION, CALLBACK % "p-1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(running.command(*words), stdin=pipe, stdout=pipe, text=True) as sending:
        assert sending.stdout is not None
        assert sending.stdout.readline() == "half\n"
        running.run("systemctl", "stop", "--no-block", "reconciler.socket", "reconciler.service")
        running.until(
            lambda: any(line["event"] == "stopping" for line in running.log()), "the stop"
        )
        assert sending.communicate("\n", timeout=PATIENCE)[0].startswith("HTTP/1.1 200 ")

    running.until(lambda: bool(running.show("ActiveState") == "inactive"), "the end")
    assert running.show("Result") == "success"
    assert running.show("ExecMainStatus") == "0"
    assert [line["event"] for line in running.log()][-1] == "stopped"
    assert "p-1" in running.run("reconciler", "list")


def test_a_reload_leaves_the_same_process_running(running: Any) -> None:
    before = running.show("MainPID")
    running.run("systemctl", "reload", "reconciler.service")
    assert running.show("MainPID") == before
    assert running.show("ActiveState") == "active"
    assert post(running, "p-1") == "200"


def test_a_reload_takes_on_what_has_changed(running: Any) -> None:
    assert post(running, "p-1", "Bearer of-tomorrow") == "401"
    before = '{ credential = "callback-authorization" }'
    changed = BOX_CONFIG.replace(before, f'{before}, "Bearer of-tomorrow"')
    running.write("/etc/reconciler/reconciler.toml", changed)
    assert post(running, "p-2", "Bearer of-tomorrow") == "401"

    running.run("systemctl", "reload", "reconciler.service")
    running.until(
        lambda: any(line["event"] == "config_reloaded" for line in running.log()), "the reload"
    )

    assert post(running, "p-3", "Bearer of-tomorrow") == "200"
    assert post(running, "p-4") == "200"
    assert running.show("NRestarts") == "0"
    running.write("/etc/reconciler/reconciler.toml", BOX_CONFIG + "nonsense = 1\n")
    running.run("systemctl", "reload", "reconciler.service")  # and says nothing of the fault
    running.until(
        lambda: any(line["event"] == "config_reload_failed" for line in running.log()), "the fault"
    )
    assert post(running, "p-5", "Bearer of-tomorrow") == "200"


def test_a_callback_waits_while_a_missing_credential_keeps_the_daemon_from_starting(
    box: Any,
) -> None:
    box.run("rm", "/etc/reconciler/credentials/assure-client-secret")
    box.run("systemctl", "start", "reconciler.socket")
    with subprocess.Popen(box.command(*posting("p-1")), stdout=subprocess.PIPE) as waiting:
        # No limit ends the attempts, nor closes the socket.
        box.until(lambda: int(box.show("NRestarts")) > 2, "another attempt")
        assert "status=243/CREDENTIALS" in box.journal()
        assert box.show("ActiveState", "reconciler.socket") == "active"

        box.write("/etc/reconciler/credentials/assure-client-secret", "secret", mode="0600")
        assert waiting.communicate(timeout=PATIENCE)[0] == b"200\n"
    assert box.show("ActiveState") == "active"


def test_it_writes_only_to_its_state_directory(running: Any) -> None:
    running.write("/run/marker", "")
    assert post(running, "p-1") == "200"
    running.run("reconciler", "track", "d-2", "p-2")
    running.run("systemctl", "restart", "reconciler.service")
    assert post(running, "p-3") == "200"

    state = "/var/lib/private/reconciler"
    changed = [
        path.removeprefix(str(WRITTEN))
        for path in running.run(
            "find", str(WRITTEN), "-newer", "/run/marker", "-type", "f"
        ).splitlines()
    ]
    elsewhere = [path for path in changed if not path.startswith((f"{state}/", "/var/log/"))]
    assert elsewhere == []
    assert f"{state}/reconciler.db" in changed
    # And it could not if it would: where it lives, not even root can write to anything else.
    tries = [
        f"{place}/try"
        for place in ("", "/etc", "/opt", "/run", "/run/lock", "/srv", "/usr", "/var/lib")
    ]
    inside = ["nsenter", "--target", running.show("MainPID"), "--mount", "touch"]
    refused = running.run(*inside, *tries, check=False).splitlines()
    assert len(refused) == len(tries)
    assert all(line.endswith(": Read-only file system") for line in refused)
    # Commands of root beside it left nothing of root's.
    uid = running.run("stat", "--format", "%u", state).strip()
    assert int(uid) > 60_000
    assert running.run("find", state, "-not", "-uid", uid) == ""
    assert running.run("stat", "--format", "%a", state).strip() == "700"


def test_the_admin_listener_may_be_a_unix_socket(box: Any) -> None:
    box.write("/etc/reconciler/reconciler.env", "RECONCILER_ADMIN__LISTEN=unix:/run/reconciler/a\n")
    box.run("systemctl", "start", "reconciler.service")
    told = box.run("curl", "--silent", "--unix-socket", "/run/reconciler/a", "http://admin/ready")
    assert json.loads(told)["ready"] is True


def test_no_right_of_root_is_left_to_it(running: Any) -> None:
    status = running.run("cat", f"/proc/{running.show('MainPID')}/status")
    for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
        assert re.search(rf"^Cap{kind}:\t0+$", status, re.MULTILINE), status
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
