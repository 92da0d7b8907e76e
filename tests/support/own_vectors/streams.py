"""Streams that lie about sizes and counts, that are cut, or that have a byte order mark.

CESR, "Cold start Stream parsing problem": after a fault a parser looks for the next element that
can start a message. An event in front of the fault, and one behind it, must survive.
"""

from collections.abc import Callable, Iterator

from keystead.testing.authoring import Author, Signed
from support.own_vectors.crafting import (
    Body,
    Case,
    Frame,
    altered,
    bare,
    bystander,
    counter,
    dropped,
    good,
    place,
    signed_by,
)

_GROUP, _JSON, _CUT = "bad-attachment-group", "deserialize-error", "truncated"
_BOM = b"\xef\xbb\xbf"


def cases() -> Iterator[Case]:
    """Give the cases of the family."""
    yield from _sizes()
    yield from _counts()
    yield from _frame_counts()
    yield from _cuts()
    yield from _marks()


def _around(bad: Frame) -> list[list[Frame]]:
    """Put good events in front of a bad one and behind it."""
    front = good(Author("in front").incept())
    return [[front, bad, bystander()]]


def _sizes() -> Iterator[Case]:
    author = Author("size")
    event = author.incept()
    lies: tuple[tuple[str, str, Callable[[int], int], str], ...] = (
        ("plus-one", "one byte more than there are", lambda size: size + 1, _JSON),
        ("minus-one", "one byte less than there are", lambda size: size - 1, _JSON),
        ("zero", "no bytes", lambda _: 0, _JSON),
        ("twenty", "fewer bytes than the version string ends at", lambda _: 20, _JSON),
        ("into-next", "300 bytes more than there are", lambda size: size + 300, _JSON),
        ("beyond-end", "more bytes than the stream has", lambda _: 0x010000, _CUT),
        ("huge", "as many bytes as can be stated", lambda _: 0xFFFFFF, "malformed"),
    )
    for name, title, lie, reason in lies:
        bad = altered(event, lie=lie)
        for form, attached in (("bare", signed_by(author, bad)), ("framed", b"")):
            inner = attached or signed_by(author, bad)
            attachments = attached or counter("-V", len(inner) // 4) + inner
            lost = dropped(bad, attachments, reason)
            yield Case(
                f"size-{name}-{form}", f"icp that states {title}, {form} attachments", _around(lost)
            )


def _pair() -> tuple[Author, Body, bytes, bytes]:
    """Return an inception of two keys that must both sign, and the signatures."""
    author = Author("count", keys=2)
    event = author.incept()
    raw = event.event.raw
    first, second = (place(pair, raw, at) for at, pair in enumerate(author.pairs(0)))
    return author, Body(raw, event.event.said), first, second


def _counts() -> Iterator[Case]:
    _, body, first, second = _pair()
    both = first + second
    for name, title, code in (
        ("zero", "0 of 2 signatures", counter("-A", 0)),
        ("too-few", "1 of 2 signatures", counter("-A", 1)),
        ("too-many", "3 with 2 signatures", counter("-A", 3)),
        ("huge", "4095 with 2 signatures", counter("-A", 4095)),
        ("of-another-kind", "2 receipt couples where 2 signatures are", counter("-C", 2)),
        ("of-unknown-kind", "a code that is in no table", b"-zAC"),
    ):
        lost = dropped(body, code + both, _GROUP)
        yield Case(f"count-{name}", f"bare group that counts {title}", _around(lost))
        framed = counter("-V", len(code + both) // 4) + code + both
        lost = dropped(body, framed, _GROUP)
        yield Case(f"count-{name}-framed", f"framed group that counts {title}", _around(lost))


def _frame_counts() -> Iterator[Case]:
    _, body, first, second = _pair()
    inner = counter("-A", 2) + first + second
    size = len(inner) // 4
    front, behind = good(Author("in front").incept()), bystander()
    for name, title, code in (
        ("zero", "0 quadlets", counter("-V", 0)),
        ("too-few", "one quadlet less than there are", counter("-V", size - 1)),
        ("inside-signature", "the half of its quadlets", counter("-V", size // 2)),
        ("beyond-end", "more quadlets than the stream has", counter("-V", 4095)),
        ("big-beyond-end", "more quadlets than the stream has, big", counter("-0V", 60_000, 5)),
        ("huge", "as many quadlets as a big code can", counter("-0V", 64**5 - 1, 5)),
    ):
        lost = dropped(body, code + inner, _GROUP)
        yield Case(f"frame-{name}", f"frame that counts {title}", [[front, lost, behind]])
    last = good(Author("at the end").incept())
    # The frame takes the first quadlet of the event behind it, which nobody can tell from a lie.
    lost = dropped(body, counter("-V", size + 1) + inner, _GROUP)
    swallowed = Frame(behind.raw, behind.body, behind.said, "dropped", "cold-start")
    yield Case(
        "frame-too-many",
        "frame that counts one quadlet more than there are, the first of the next event",
        [[front, lost, swallowed, last]],
        other=[[front, lost, behind, last]],
    )


def _log() -> list[Signed]:
    author = Author("cut")
    return [author.incept(), author.interact(), author.rotate()]


def _cuts() -> Iterator[Case]:
    """The stream ends at an element boundary, or one byte before or behind one.

    Another stream follows on another connection, and must not suffer.
    """
    events = _log()
    frames = [bare(event) for event in events]
    whole = b"".join(frame.raw for frame in frames)
    start = 0
    for number, frame in enumerate(frames):
        body = start + len(frame.body)
        marks = {"body": body, "count": body + 4, "signature": start + len(frame.raw)}
        for element, boundary in marks.items():
            for step, where in ((-1, "before"), (0, "at"), (1, "behind")):
                end = boundary + step
                if end <= len(whole):
                    yield Case(
                        f"cut-{number}-{element}-{where}",
                        f"stream ends {where} the end of the {element} of event {number}",
                        [_cut(frames, end), [bystander()]],
                        whole=whole[:end],
                    )
        start += len(frame.raw)


def _cut(frames: list[Frame], end: int) -> list[Frame]:
    """Return what becomes of the frames of a stream of which only `end` bytes arrive."""
    found = []
    for frame in frames:
        there = frame.raw[: max(0, end)]
        end -= len(frame.raw)
        if there == frame.raw:
            found.append(frame)
        elif there == frame.body:  # nothing tells that signatures are missing
            found.append(Frame(there, frame.body, frame.said, "dropped", "missing-signatures"))
        elif there:
            found.append(Frame(there, final="incomplete", reason=_CUT))
    return found


def _marks() -> Iterator[Case]:
    author = Author("mark")
    event = author.incept()
    body = Body(event.event.raw, event.event.said)
    mark = Frame(_BOM, final="garbage", reason="cold-start")
    for name, title, frames in (
        ("front", "in front of the stream", [mark, bare(event), bystander()]),
        ("between", "between two events", [bare(event), mark, bystander()]),
        ("end", "at the end of the stream", [bare(event), bystander(), mark]),
        (
            "before-attachments",
            "between a body and its attachments, which are lost",
            [
                dropped(body, b"", "missing-signatures"),
                Frame(_BOM + signed_by(author, body), final="garbage", reason="cold-start"),
                bystander(),
            ],
        ),
    ):
        yield Case(f"bom-{name}", f"a byte order mark {title}", [frames])
    for name, title, garbage in (
        ("zeros", "64 zero bytes", bytes(64)),
        ("brackets", "64 opening brackets", b"{" * 64),
        ("dashes", "64 dashes", b"-" * 64),
        ("version-alone", "a version string alone", b"KERI10JSON0000fd_"),
        ("start-alone", "the start of a body", b'{"v":"KERI10JSON0000fd_"'),
        ("http", "the head of an HTTP answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("genus-2", "the code for tables of version 2", b"-_AAACAA"),
    ):
        waste = Frame(garbage, final="garbage", reason="cold-start")
        yield Case(f"garbage-{name}", f"{title} between two events", _around(waste))
