"""docs/install.md, typed as it stands, under a real systemd.

Left out is what needs the network: the packages and the wheel. The box has the program where they
would have put it.
"""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from reconciler.config import load
from tests.systemd.conftest import ROOT, UNITS

STATE = "/var/lib/private/reconciler"
IN_THE_BOX = "rm -rf /opt/"  # the program is shown to the box, and cannot be removed in it


@pytest.fixture(scope="module")
def blocks() -> dict[str, list[str]]:
    """The commands below each heading."""
    text = (ROOT / "docs" / "install.md").read_text()
    sections = dict(part.split("\n", 1) for part in text.split("\n## ")[1:])
    found = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return {heading: found.findall(body) for heading, body in sections.items()}


class Reader:
    """Types what stands below one heading after the other."""

    def __init__(self, box: Any, blocks: dict[str, list[str]]) -> None:
        self._box = box
        self._blocks = blocks
        self.rest = list(blocks)

    def types(self, heading: str) -> str:
        """Type the blocks of the next heading, which must be this one; return what was said."""
        return "".join(self.type(block) for block in self.begins(heading))

    def begins(self, heading: str) -> list[str]:
        """Return the blocks of the next heading, which must be this one."""
        assert self.rest.pop(0) == heading
        return self._blocks[heading]

    def passes_over(self, heading: str) -> None:
        assert self.rest.pop(0) == heading

    def type(self, block: str) -> str:
        lines = [line for line in block.splitlines() if not line.startswith(IN_THE_BOX)]
        script = "\n".join(lines)
        return str(self._box.run("bash", "-euo", "pipefail", "-c", script, stdin="the-secret\n"))


def changes_the_configuration(box: Any, reader: Reader) -> None:
    reload, look, restart = reader.begins("Change the configuration")
    path = "/etc/reconciler/reconciler.toml"
    before = box.run("cat", path)
    process = box.show("MainPID")

    def answered(event: str) -> bool:
        box.run("journalctl", "--sync")
        return f'"event":"{event}"' in reader.type(look)

    box.write(path, f'{before}\n[log]\nlevel = "debug"\n')
    reader.type(reload)
    box.until(lambda: answered("config_reloaded"), "the reload")
    assert '"changed":["log.level"]' in reader.type(look)

    box.write(path, f"{before}\nnonsense = 1\n")
    box.run("systemctl", "reload", "reconciler.service")  # and it says nothing of it
    box.until(lambda: answered("config_reload_failed"), "the failure")
    assert "nonsense unknown key" in reader.type(look)
    box.write(path, before)
    reader.type(reload)
    box.until(lambda: answered("config_reloaded"), "the reload back")
    assert box.show("MainPID") == process

    reader.type(restart)
    assert box.show("MainPID") != process


@pytest.mark.timeout(300)
def test_a_reader_gets_from_nothing_to_a_service_and_back(
    bare_box: Any, blocks: dict[str, list[str]]
) -> None:
    box, reader = bare_box, Reader(bare_box, blocks)
    for tool in ("curl", "jq"):
        if not box.run("sh", "-c", f"command -v {tool} || true"):
            pytest.skip(f"there is no {tool}, which the document installs")

    def is_ready() -> bool:
        said = box.run("curl", "--silent", "http://127.0.0.1:9180/ready", check=False)
        return box.show("ActiveState") == "active" and json.loads(said)["ready"] is True

    reader.passes_over("1. Packages")
    reader.passes_over("2. The program")

    reader.types("3. Secrets")
    secrets = "/etc/reconciler/credentials"
    modes = box.run("stat", "--format", "%a %U", secrets, f"{secrets}/assure-client-secret")
    assert modes.splitlines() == ["700 root", "600 root"]
    said = reader.types("4. Configuration")
    assert 'url = "sqlite:////var/lib/reconciler/reconciler.db"' in said
    assert said.count("not checked") == 2
    reader.types("5. Units")
    assert is_ready()
    assert box.show("NRestarts") == "0"

    said = reader.types("6. Check")
    assert '"ready":true' in said
    assert '"event":"ready"' in said
    assert '{"received":true}' in said.replace(" ", "")
    assert re.search(r"state +reported", said)
    assert "forgotten" in said
    reader.types("7. Watch")
    changes_the_configuration(box, reader)
    assert is_ready()
    reader.types("Upgrade")
    assert is_ready()

    box.run("reconciler", "track", "d-1", "p-before")
    box.run("systemctl", "stop", "reconciler.service")
    box.run("cp", "--preserve", f"{STATE}/reconciler.db", f"{STATE}/reconciler.db.0001.bak")
    box.run("systemctl", "start", "reconciler.service")
    box.run("reconciler", "track", "d-1", "p-after")
    reader.types("Roll back")
    assert is_ready()
    ledger = box.run("reconciler", "list")
    assert "p-before" in ledger
    assert "p-after" not in ledger

    reader.types("Encrypted secrets")
    assert is_ready()
    assert box.run("ls", secrets).split() == [
        "assure-client-secret.cred",
        "callback-authorization.cred",
    ]

    reader.types("A fixed user")
    assert is_ready()
    assert box.show("DynamicUser") == "no"
    box.run("reconciler", "track", "d-1", "p-fixed")
    assert box.run("find", "/var/lib/reconciler/", "-not", "-user", "reconciler") == ""
    assert "p-before" in box.run("reconciler", "list")

    reader.types("Stop")
    assert box.show("ActiveState") == "inactive"
    assert box.show("ActiveState", "reconciler.socket") == "inactive"
    reader.types("Uninstall")
    assert reader.rest == []
    left = box.run(
        "sh", "-c", "ls -d /etc/reconciler* /var/lib/reconciler* /etc/systemd/system/r*; true"
    )
    assert left.count("No such file") == 3, left


def test_the_document_speaks_of_the_files_that_are_there(blocks: dict[str, list[str]]) -> None:
    commands = "\n".join(block for group in blocks.values() for block in group)
    named = set(re.findall(r"(?<= )systemd/([\w./-]+)", commands))
    assert named == {str(path.relative_to(UNITS)) for path in UNITS.rglob("*.*") if path.is_file()}
    # The box takes this for granted.
    assert "export RECONCILER_CONFIG=/etc/reconciler/reconciler.toml\n" in commands


def test_the_configuration_of_the_document_is_valid(
    blocks: dict[str, list[str]], tmp_path: Path
) -> None:
    [text] = re.findall(r"<<'END'\n(.*?)^END$", blocks["4. Configuration"][0], re.M | re.S)
    path = tmp_path / "reconciler.toml"
    path.write_text(text)
    assert load(path, {}).store.spool == "/var/lib/reconciler/spool"


def test_the_sample_of_the_environment_is_valid(tmp_path: Path) -> None:
    lines = (UNITS / "reconciler.env").read_text().splitlines()
    environ = dict(
        shlex.split(line.removeprefix("#"))[0].split("=", 1)
        for line in lines
        if line.startswith("#RECONCILER_")
    )
    (tmp_path / "reconciler.toml").write_text("")
    settings = load(tmp_path / "reconciler.toml", environ)
    assert len(environ) == 4
    assert settings.log.level == "debug"
    assert [str(network) for network in settings.listener.allow_from] == ["192.0.2.0/24"]


def test_every_credential_of_the_configuration_has_a_line_in_the_unit() -> None:
    unit = (UNITS / "reconciler.service").read_text()
    sample = (ROOT / "config" / "reconciler.toml").read_text()
    named = set(re.findall(r'\{ credential = "([a-z-]+)" \}', sample))
    assert named - set(re.findall(r"^#?LoadCredential=([\w-]+):", unit, re.MULTILINE)) == set()
