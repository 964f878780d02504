"""Whether the file of the listener's certificate holds its chain, in the right order."""

from pathlib import Path

import pytest

from reconciler.inbound.chain import flaw_of_chain, is_self_signed
from reconciler.inbound.tls import server_context
from tests.certificates import NEW, run_openssl

CONFIG = """
[req]
prompt = no
distinguished_name = name
[name]
CN = Test
[ca]
basicConstraints = critical, CA:TRUE
[leaf]
basicConstraints = critical, CA:FALSE
"""


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """root.pem, issuer.pem by it, leaf.pem by that, and the unrelated other.pem, with keys."""
    folder = tmp_path_factory.mktemp("pems")
    new = f"{NEW} -keyout"
    sign = "x509 -req -CAcreateserial -days 2 -extfile openssl.cnf -in"
    commands = (
        f"{new} root.key -x509 -extensions ca -days 2 -out root.pem -subj /CN=Root",
        f"{new} other.key -x509 -extensions ca -days 2 -out other.pem -subj /CN=Issuer",
        f"{new} issuer.key -out issuer.csr -subj /CN=Issuer",
        f"{sign} issuer.csr -CA root.pem -CAkey root.key -extensions ca -out issuer.pem",
        f"{new} leaf.key -out leaf.csr -subj /CN=leaf.example",
        f"{sign} leaf.csr -CA issuer.pem -CAkey issuer.key -extensions leaf -out leaf.pem",
    )
    run_openssl(folder, CONFIG, commands)
    return folder


def chained(pems: Path, names: str) -> str:
    path = pems / f"{names.replace(' ', '-')}-chain.pem"
    path.write_text("".join((pems / f"{name}.pem").read_text() for name in names.split()))
    return str(path)


@pytest.mark.parametrize(
    "names", ["leaf issuer", "leaf issuer root", "leaf issuer other", "leaf issuer root other"]
)
def test_a_certificate_with_its_chain_has_no_flaw(pems: Path, names: str) -> None:
    assert flaw_of_chain(chained(pems, names), str(pems / "leaf.key")) is None


@pytest.mark.parametrize(
    ("names", "flaw"),
    [
        ("leaf", "holds the certificate without its chain: that of its issuer, 'Issuer', is"),
        ("leaf root", "the second certificate did not issue the first, 'Issuer' did"),
        ("leaf other", "the second certificate did not issue the first"),  # only the name fits
        ("leaf leaf", "holds the certificate without its chain"),
        ("leaf root issuer", "the certificates stand in the wrong order"),
        ("issuer leaf", "the key belongs to a certificate that is not the first"),
        ("root issuer leaf", "the key belongs to a certificate that is not the first"),
    ],
)
def test_a_missing_or_wrong_chain_is_told(pems: Path, names: str, flaw: str) -> None:
    told = flaw_of_chain(chained(pems, names), str(pems / "leaf.key"))
    assert told is not None and told.startswith(flaw)


def test_a_self_signed_certificate_needs_no_chain(pems: Path) -> None:
    files = str(pems / "root.pem"), str(pems / "root.key")
    assert flaw_of_chain(*files) is None
    assert is_self_signed(*files)
    assert not is_self_signed(chained(pems, "leaf issuer"), str(pems / "leaf.key"))


def test_a_key_of_another_certificate_is_told_as_such(pems: Path) -> None:
    with pytest.raises(OSError, match="the key belongs to another certificate"):
        server_context(str(pems / "leaf.pem"), str(pems / "other.key"))
