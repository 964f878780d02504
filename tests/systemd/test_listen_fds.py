"""The daemon takes the right one of the passed sockets, and refuses others in one line."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reconciler.inbound.bind import bind
from reconciler.systemd.listen_fds import PassedSocketError, passed_socket


@pytest.fixture
def first() -> Iterator[int]:
    """Three descriptors in a row: TCP that listens, TCP that listens, a unix socket."""
    with ExitStack() as stack:
        opened = [*bind("127.0.0.1", 0), *bind("127.0.0.1", 0), socket.socket(socket.AF_UNIX)]
        opened[2].bind(f"\0reconciler-test-{os.getpid()}-{id(stack)}")
        opened[2].listen()
        for each in opened:
            stack.enter_context(each)
        start = 200
        for place, each in enumerate(opened):
            os.dup2(each.fileno(), start + place, inheritable=True)
        yield start
        for place in range(len(opened)):
            try:
                os.close(start + place)
            except OSError:  # the code under test owned it, and has closed it
                continue


def passed(count: int, names: str | None = None, **more: str) -> dict[str, str]:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), **more}
    return environ if names is None else {**environ, "LISTEN_FDNAMES": names}


@pytest.mark.parametrize("names", [None, "callbacks", "reconciler.socket"])
def test_the_only_socket_is_taken_whatever_its_name(first: int, names: str | None) -> None:
    taken = passed_socket(passed(1, names), first)
    assert taken is not None
    with taken:
        assert taken.fileno() == first
        assert not taken.get_inheritable()
        assert not taken.getblocking()


def test_of_several_the_one_named_callbacks_is_taken(first: int) -> None:
    taken = passed_socket(passed(2, "other:callbacks"), first)
    assert taken is not None
    with taken:
        assert taken.fileno() == first + 1


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        passed(0),
        passed(1, LISTEN_FDS="one"),
    ],
)
def test_what_was_not_passed_to_this_process_is_left_alone(
    first: int, environ: dict[str, str]
) -> None:
    assert passed_socket(environ, first) is None


@pytest.mark.parametrize("names", [None, "a:b", "callbacks:callbacks"])
def test_which_of_several_must_be_clear(first: int, names: str | None) -> None:
    with pytest.raises(PassedSocketError, match="FileDescriptorName=callbacks"):
        passed_socket(passed(2, names), first)


def test_only_a_tcp_socket_that_listens_will_do(first: int, tmp_path: Path) -> None:
    with pytest.raises(PassedSocketError, match="does not listen on TCP"):
        passed_socket(passed(1), first + 2)
    with socket.socket() as silent, pytest.raises(PassedSocketError, match="does not listen"):
        passed_socket(passed(1), silent.fileno())
    with (tmp_path / "file").open("wb") as file, pytest.raises(PassedSocketError, match="no sock"):
        passed_socket(passed(1), file.fileno())
