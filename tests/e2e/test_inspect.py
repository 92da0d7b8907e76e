"""`keystead inspect` as a process: what it shows of whole streams and of pieces."""

import json

import pytest

from keystead.cesr import base64
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group
from keystead.cesr.writing import write_groups
from keystead.testing.authoring import Author, KeyPair, witness
from support.commands import ROOT, keystead, measured

LOGS = ROOT / "examples" / "logs.cesr"


def test_a_stream_is_shown_element_by_element() -> None:
    """Bodies are shown as JSON with their type, groups with their count, elements with a name."""
    author = Author("alice", witnesses=[witness("one")])
    event = author.incept()
    done = keystead("inspect", "-", stdin=event.framed)
    assert done.returncode == 0
    text = done.stdout.decode()
    assert f"KERI 1.0 JSON body of {len(event.event.raw)} bytes, type icp (inception)" in text
    assert '"kt": "1"' in text
    assert "1 controller signatures" in text
    assert "1 witness signatures" in text
    assert f"{event.signatures[0].text}  Ed25519 indexed signature, key 0" in text


def test_json_gives_an_object_for_each_element() -> None:
    """The elements tile the stream: each starts where the one before ends."""
    done = keystead("inspect", "--json", LOGS)
    assert done.returncode == 0
    elements = [json.loads(line) for line in done.stdout.splitlines()]
    place = 0
    for element in elements:
        assert element["start"] == place
        assert not element["error"]
        place += element["size"]
    assert place == LOGS.stat().st_size


@pytest.mark.parametrize("binary", [False, True])
def test_attachments_alone_are_shown(*, binary: bool) -> None:
    """A fragment without a body is dumped in either domain."""
    event = Author("alice", keys=2).incept()
    text = write_groups([Group(GroupKind.CONTROLLER_SIGNATURES, event.signatures)])
    done = keystead("inspect", "-", stdin=base64.decode(text) if binary else text)
    assert done.returncode == 0
    assert b"2 controller signatures" in done.stdout
    assert b"Ed25519 indexed signature, key 1" in done.stdout


@pytest.mark.parametrize("binary", [False, True])
def test_a_single_primitive_is_shown(*, binary: bool) -> None:
    """A key on its own is named."""
    text = KeyPair("alice").key.text.encode()
    done = keystead("inspect", "-", stdin=base64.decode(text) if binary else text)
    assert done.returncode == 0
    assert text + b"  Ed25519 key" in done.stdout


def test_a_private_key_is_not_shown() -> None:
    """A dump that ends up in a ticket must not hold a seed."""
    seed = b"A" + KeyPair("alice").key.text.encode()[1:]
    done = keystead("inspect", "-", stdin=seed)
    assert seed[4:] not in done.stdout
    assert b"Ed25519 seed, hidden" in done.stdout


def test_what_is_no_element_is_shown_with_its_place() -> None:
    """Garbage between messages is marked, and the messages around it are shown."""
    one, other = Author("alice").incept().framed, Author("bob").incept().framed
    done = keystead("inspect", "-", stdin=one + b"\x00garbage" + other)
    assert done.returncode == 3
    assert done.stdout.count(b"type icp") == 2
    assert f"{len(one):>8}  ".encode() in done.stdout
    assert b"! no element" in done.stdout


def test_a_truncated_stream_is_shown_up_to_the_cut() -> None:
    """The part that is missing is named."""
    stream = Author("alice").incept().framed
    done = keystead("inspect", "-", stdin=stream[:-20])
    assert done.returncode == 3
    assert b"type icp" in done.stdout
    assert b"[decode.truncated]" in done.stdout


def test_an_empty_input_is_told() -> None:
    """Nothing to show is an error, not an empty dump."""
    done = keystead("inspect", "-")
    assert done.returncode == 3
    assert b"the input is empty [decode.empty]" in done.stderr


@pytest.mark.timed
def test_long_garbage_is_shown_by_its_start() -> None:
    """Garbage of many megabytes takes little memory and one line; what follows is shown."""
    event = Author("alice").incept().framed
    done = measured("inspect", "-", pieces=[*(bytes(1024 * 1024) for _ in range(64)), event])
    assert done.returncode == 3
    assert len(done.stdout) < 4000
    assert b"67108864 bytes that are no message" in done.stdout
    assert b"type icp" in done.stdout
    assert done.peak < 80 * 1024


def test_control_characters_are_escaped() -> None:
    """A body cannot steer the terminal."""
    body = b'{"v":"KERI10JSON000026_","x":"\\u001b[2J"}'
    body = body.replace(b"000026", f"{len(body):06x}".encode())
    done = keystead("inspect", "-", stdin=body)
    assert b"\x1b" not in done.stdout
