"""Spool files may be torn, damaged, orphaned, shared or many, and are never misread."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.inbound.spool import Spool, decode_line, encode_line
from reconciler.store.inbox import Receipt

Make = Callable[..., Receipt]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "var" / "spool"


@pytest.fixture
def spool(directory: Path) -> Iterator[Spool]:
    spool = Spool(directory, "mine")
    yield spool
    spool.close()


def drain(spool: Spool) -> tuple[list[Receipt], int]:
    """Everything that can be drained, and how many lines were damaged."""
    files = spool.take()
    receipts = list(spool.read(files))
    for file in files:
        spool.drop(file)
    return receipts, sum(file.damaged for file in files)


def only_file(directory: Path) -> Path:
    (path,) = directory.glob("*.spool")
    return path


def test_what_was_put_comes_back_once(spool: Spool, directory: Path, receipt: Make) -> None:
    first = [
        receipt("p-1", extra=("a", 'quo"te')),
        receipt("p\u2028\n-2", body_sha256=b"\x00\xff" * 16),
    ]
    second = [receipt("p-3")]

    spool.put_many(first)
    spool.put_many(second)

    assert spool.count() == 3
    assert not spool.is_empty()
    assert drain(spool) == ([*first, *second], 0)
    assert drain(spool) == ([], 0)
    assert spool.is_empty()
    assert list(directory.iterdir()) == []


def test_a_spool_that_was_taken_away_by_hand_is_begun_anew(
    spool: Spool, directory: Path, receipt: Make
) -> None:
    spool.put_many([receipt("p-1")])
    shutil.rmtree(directory)

    later = receipt("p-2")
    spool.put_many([later])

    assert drain(spool) == ([later], 0)


def test_where_no_spool_can_be_nothing_is_said_to_be_kept(
    spool: Spool, directory: Path, receipt: Make
) -> None:
    spool.put_many([receipt("p-1")])
    directory.rename(directory.with_name("away"))
    directory.touch()

    with pytest.raises(OSError, match=r"exists|directory"):
        spool.put_many([receipt("p-2")])


def test_files_of_several_owners_are_merged_by_arrival(
    spool: Spool, directory: Path, receipt: Make
) -> None:
    receipts = [receipt(f"p-{number}") for number in range(9)]
    others = [Spool(directory, "a"), Spool(directory, "z")]
    for number, each in enumerate(receipts):
        (spool, *others)[number % 3].put_many([each])
    for other in others:
        other.close()

    assert drain(spool) == (receipts, 0)


def test_the_directory_and_its_files_are_private(
    spool: Spool, directory: Path, receipt: Make
) -> None:
    spool.put_many([receipt("p-1")])

    assert directory.stat().st_mode & 0o777 == 0o700
    assert only_file(directory).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("cut", [1, 40, 90])
@pytest.mark.fault("the spool", "has a torn tail")
def test_a_torn_tail_is_skipped_and_counted(
    spool: Spool, directory: Path, receipt: Make, cut: int
) -> None:
    kept = [receipt("p-1"), receipt("p-2")]
    spool.put_many([*kept, receipt("torn")])
    path = only_file(directory)
    os.truncate(path, path.stat().st_size - 1 - cut)

    assert drain(spool) == (kept, 1)


@pytest.mark.fault("the spool", "has a flipped bit")
def test_a_flipped_bit_costs_one_callback(spool: Spool, directory: Path, receipt: Make) -> None:
    receipts = [receipt("p-1"), receipt("p-2"), receipt("p-3")]
    spool.put_many(receipts)
    path = only_file(directory)
    content = bytearray(path.read_bytes())
    content[content.index(b"p-2") + 2] ^= 1
    path.write_bytes(content)

    assert drain(spool) == ([receipts[0], receipts[2]], 1)


@pytest.mark.parametrize("line", [b"", b"00000000", b"00000000 []", b"\xff\xfe", b"2bc1ec84 [1,2]"])
def test_a_line_that_is_none_is_no_receipt(line: bytes) -> None:
    assert decode_line(line) is None


def test_a_line_with_a_good_checksum_over_something_else_is_no_receipt(receipt: Make) -> None:
    payload = b'["only","two"]'
    assert decode_line(b"%08x %s" % (zlib.crc32(payload), payload)) is None
    made = receipt("p-1")
    assert decode_line(encode_line(made).rstrip(b"\n")) == made


def test_the_file_of_a_living_owner_is_left_alone(
    spool: Spool, directory: Path, receipt: Make
) -> None:
    other = Spool(directory, "other")
    theirs = [receipt("theirs")]
    other.put_many(theirs)

    assert drain(spool) == ([], 0)
    assert spool.count() == 1
    assert not spool.is_empty()
    other.close()
    assert drain(spool) == (theirs, 0)


def test_two_that_drain_share_the_files_and_never_the_same_one(
    spool: Spool, directory: Path, receipt: Make
) -> None:
    for owner in ("gone-1", "gone-2"):
        gone = Spool(directory, owner)
        gone.put_many([receipt(owner)])
        gone.close()
    other = Spool(directory, "other")

    files = spool.take()
    assert len(files) == 2
    assert other.take() == []
    spool.keep(files)
    assert len(drain(spool)[0]) == 2


WRITER = """
import sys
from pathlib import Path
from reconciler.inbound.spool import Spool
from reconciler.store.inbox import Receipt

spool = Spool(Path(sys.argv[1]), "killed")
for number in range(10**9):
    spool.put_many([Receipt(f"r{number:09}", number, f"p-{number}", "d", "s", (), bytes(32))])
    print(number, flush=True)
"""


def test_what_a_killed_process_has_acknowledged_is_drained_by_another(
    spool: Spool, directory: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(directory)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        while int(writer.stdout.readline()) < 20:
            pass
        assert drain(spool) == ([], 0), "it lives"
        writer.send_signal(signal.SIGKILL)
        acknowledged = [int(line) for line in writer.stdout if line.endswith(b"\n")]
    last = acknowledged[-1] if acknowledged else 20

    receipts, _ = drain(spool)

    assert [each.received_at for each in receipts][: last + 1] == list(range(last + 1))
    assert len(receipts) <= last + 2, "at most one more: written, not yet acknowledged"


@pytest.mark.fault("the spool", "loses a file to somebody")
def test_a_file_that_somebody_has_removed_does_not_block_the_others(
    spool: Spool, directory: Path, receipt: Make
) -> None:
    spool.put_many([receipt("gone")])
    files = spool.take()
    only_file(directory).unlink()
    spool.keep(files)
    spool.put_many([receipt("p-1")])

    assert [each.process_id for each in drain(spool)[0]] == ["p-1"]


def test_poison_is_set_aside_and_never_drained(
    spool: Spool, directory: Path, receipt: Make
) -> None:
    for name in ("poison-1", "poison-2"):
        spool.put_poison([receipt(name)])

    lines = (directory / "poison.jsonl").read_bytes().splitlines()
    kept = [decode_line(line) for line in lines]
    assert [receipt and receipt.process_id for receipt in kept] == ["poison-1", "poison-2"]
    assert spool.is_empty()
    assert drain(spool) == ([], 0)


def test_a_directory_that_is_not_there_is_an_empty_spool(spool: Spool, directory: Path) -> None:
    assert spool.is_empty()
    assert spool.count() == 0
    assert spool.take() == []
    assert not directory.exists()


def test_a_probe_leaves_nothing_behind(spool: Spool, directory: Path) -> None:
    spool.probe()
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("method", [Spool.probe, Spool.is_empty, Spool.count, Spool.take])
def test_a_directory_that_cannot_be_used_is_told(
    spool: Spool, directory: Path, method: Callable[[Spool], object]
) -> None:
    directory.parent.mkdir()
    directory.write_text("a file in its place")

    with pytest.raises(OSError, match=r"directory|exists"):
        method(spool)
