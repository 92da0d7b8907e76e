"""Requests from bytes; what must be refused is in the tests over sockets."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keystead.services.http import HttpLimits
from keystead.services.parsing import METHODS, ChunkedBody, check_partial, parse_head
from keystead.services.refusals import Refused

LIMITS = HttpLimits()
NAMES = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"


@given(
    st.sampled_from(sorted(METHODS)),
    st.text("abcXYZ09%/-._~!$&'()*+,;=:@", max_size=50),
    st.text("abcXYZ09%/-._~!$&'()*+,;=:@?", max_size=50),
    st.dictionaries(
        st.text(NAMES, min_size=1, max_size=20).filter(
            lambda name: name not in {"host", "content-length", "transfer-encoding", "expect",
                                      "content-encoding", "connection", "upgrade"}
        ),
        st.text('abc XYZ09:;,\t\xe9"', max_size=30).map(lambda text: text.strip(" \t")),
        max_size=20,
    ),
)  # fmt: skip
def test_what_is_sent_is_what_is_read(
    method: str, path: str, query: str, headers: dict[str, str]
) -> None:
    """Method, target and headers come out as they went in."""
    lines = [f"{method} /{path}?{query} HTTP/1.1", "HOST: example.org:80"]
    lines += [f"{name.upper()}:  {value}\t" for name, value in headers.items()]
    head = parse_head(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), LIMITS)
    assert (head.method, head.path, head.query) == (method, f"/{path}", query)
    assert head.headers == {"host": "example.org:80", **headers}
    assert (head.length, head.keep_alive, head.chunkable, head.waits) == (0, True, True, False)


@given(st.binary(min_size=1, max_size=300))
@example(b"GET / HTTP/1.1\r\nHost: x\r\nA: b, c\r\n\r\n")
def test_any_bytes_are_a_head_or_are_refused(data: bytes) -> None:
    """Nothing else than `Refused` comes out of a parser."""
    parsers: tuple[Callable[[], object], ...] = (
        lambda: parse_head(data, LIMITS),
        lambda: check_partial(bytearray(data), LIMITS),
        lambda: ChunkedBody(100, 10).take(bytearray(data)),
    )
    for parse in parsers:
        try:
            parse()
        except Refused as refused:
            assert 400 <= refused.status < 600  # noqa: PT017 - of whatever was raised


def test_repeated_headers_are_joined() -> None:
    """A header that came more than once is one list."""
    head = parse_head(b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\na: c\r\n\r\n", LIMITS)
    assert head.headers["a"] == "b, c"


@pytest.mark.parametrize(
    ("raw", "stays"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_the_peer_decides_whether_a_connection_stays(raw: bytes, *, stays: bool) -> None:
    """HTTP/1.1 stays unless told otherwise, HTTP/1.0 the other way round."""
    assert parse_head(raw, LIMITS).keep_alive is stays


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=10), st.data())
def test_chunks_are_put_together(pieces: list[bytes], data: st.DataObject) -> None:
    """However the bytes arrive, the content is the same, and what follows is left alone."""
    content = b"".join(pieces)
    raw = b"".join(b"%X\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    body = ChunkedBody(len(content), len(pieces) + 1)
    buffer = bytearray()
    at = 0
    while at < len(raw):
        step = data.draw(st.integers(1, len(raw) - at))
        buffer += raw[at : at + step]
        at += step
        if at == len(raw):
            buffer += b"GET"
        assert body.take(buffer) is (at == len(raw))
    assert bytes(body.content) == content
    assert buffer == b"GET"
