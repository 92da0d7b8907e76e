"""Requests that must be refused: malformed ones, and those that two servers may read differently."""

from collections.abc import Iterator

import pytest

from support.serving import Served, is_closed, read_answer, serving

HOST = b"Host: x\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n"


def _post(headers: bytes, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\n" + HOST + headers + b"\r\n" + body


def _get(headers: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\n" + HOST + headers + b"\r\n"


def _line(line: bytes) -> bytes:
    return line + b"\r\n" + HOST + b"\r\n"


MALFORMED: dict[str, tuple[bytes, int]] = {
    # the request line
    "no method": (_line(b" / HTTP/1.1"), 400),
    "no target": (_line(b"GET HTTP/1.1"), 400),
    "no version": (_line(b"GET /"), 400),
    "lower-case method": (_line(b"get / HTTP/1.1"), 501),
    "unknown method": (_line(b"BREW / HTTP/1.1"), 501),
    "connect": (_line(b"CONNECT x:1 HTTP/1.1"), 501),
    "trace": (_line(b"TRACE / HTTP/1.1"), 501),
    "preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "two spaces before the target": (_line(b"GET  / HTTP/1.1"), 400),
    "two spaces before the version": (_line(b"GET /  HTTP/1.1"), 400),
    "space at the end": (_line(b"GET / HTTP/1.1 "), 400),
    "tab": (_line(b"GET\t/\tHTTP/1.1"), 400),
    "space in the target": (_line(b"GET /a b HTTP/1.1"), 400),
    "control character in the target": (_line(b"GET /\x01 HTTP/1.1"), 400),
    "NUL in the target": (_line(b"GET /\0 HTTP/1.1"), 400),
    "delete in the target": (_line(b"GET /\x7f HTTP/1.1"), 400),
    "no ASCII in the target": (_line("GET /é HTTP/1.1".encode()), 400),
    "fragment": (_line(b"GET /#a HTTP/1.1"), 400),
    "no path": (_line(b"GET a HTTP/1.1"), 400),
    "asterisk": (_line(b"GET * HTTP/1.1"), 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/0.9 by name": (_line(b"GET / HTTP/0.9"), 505),
    "HTTP/1.2": (_line(b"GET / HTTP/1.2"), 505),
    "HTTP/2.0": (_line(b"GET / HTTP/2.0"), 505),
    "HTTP/1.10": (_line(b"GET / HTTP/1.10"), 400),
    "HTTP/01.1": (_line(b"GET / HTTP/01.1"), 400),
    "lower-case version": (_line(b"GET / http/1.1"), 400),
    "another protocol": (_line(b"SOURCE / ICE/1.0"), 400),
    "RTSP": (_line(b"GET / RTSP/1.0"), 400),
    "empty line before": (b"\r\n" + _get(b""), 400),
    "line feed before": (b"\n" + _get(b""), 400),
    "space before": (b" " + _get(b""), 400),
    "hello of TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "random bytes": (b"\xff\xfe\xfd", 400),
    "long target": (_line(b"GET /" + b"a" * 4096 + b" HTTP/1.1"), 414),
    "long query": (_line(b"GET /?" + b"a" * 4096 + b" HTTP/1.1"), 414),
    # line ends
    "bare LF everywhere": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "bare LF after the request line": (b"GET / HTTP/1.1\nHost: x\r\n\r\n", 400),
    "bare LF after a header": (_get(b"A: b\nC: d\r\n"), 400),
    "bare LF at the end": (b"GET / HTTP/1.1\r\nHost: x\r\n\n", 400),
    "bare CR": (_get(b"A: b\rC: d\r\n"), 400),
    "CR CR LF": (_get(b"A: b\r\r\n"), 400),
    # headers
    "folded": (_get(b"A: b\r\n c\r\n"), 400),
    "folded by tab": (_get(b"A: b\r\n\tc\r\n"), 400),
    "folded first": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "space before the colon": (_get(b"A : b\r\n"), 400),
    "no colon": (_get(b"A\r\n"), 400),
    "no name": (_get(b": b\r\n"), 400),
    "name with a bracket": (_get(b"A(: b\r\n"), 400),
    "name that is no ASCII": (_get("É: b\r\n".encode()), 400),
    "NUL in a name": (_get(b"A\0: b\r\n"), 400),
    "NUL in a value": (_get(b"A: b\0c\r\n"), 400),
    "control character in a value": (_get(b"A: b\x01c\r\n"), 400),
    "delete in a value": (_get(b"A: b\x7fc\r\n"), 400),
    "too many": (_get(b"A: b\r\n" * 64), 431),
    "too large": (_get(b"A: " + b"b" * 16_384 + b"\r\n"), 431),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (_get(b"Host: y\r\n"), 400),
    "the same Host twice": (_get(HOST), 400),
    "Host with a path": (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
    "Host with a user": (b"GET / HTTP/1.1\r\nHost: u@x\r\n\r\n", 400),
    "empty Host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "two Hosts in one": (b"GET / HTTP/1.1\r\nHost: x, y\r\n\r\n", 400),
    "another host in the target": (_line(b"GET http://y/ HTTP/1.1"), 400),
    "a user in the target": (_line(b"GET http://u@x/ HTTP/1.1"), 400),
    "another scheme": (_line(b"GET ftp://x/ HTTP/1.1"), 400),
    "unknown expectation": (_post(b"Expect: tea\r\nContent-Length: 1\r\n"), 417),
    "compressed": (_post(b"Content-Encoding: gzip\r\nContent-Length: 1\r\n", b"a"), 415),
    "compressed twice": (_post(b"Content-Encoding: identity, br\r\nContent-Length: 1\r\n"), 415),
    "two content types": (_post(b"Content-Type: a/b\r\nContent-Type: c/d\r\n"), 400),
    # content
    "too long": (_post(b"Content-Length: 65537\r\n"), 413),
    "very long": (_post(b"Content-Length: 999999999999999\r\n"), 413),
    "chunk of no number": (_post(CHUNKS, b"g\r\n"), 400),
    "chunk without size": (_post(CHUNKS, b"\r\n"), 400),
    "negative chunk": (_post(CHUNKS, b"-1\r\n"), 400),
    "chunk with 0x": (_post(CHUNKS, b"0x1\r\na\r\n0\r\n\r\n"), 400),
    "chunk with a space": (_post(CHUNKS, b"1 \r\na\r\n0\r\n\r\n"), 400),
    "chunk with a bare LF": (_post(CHUNKS, b"1\na\r\n0\r\n\r\n"), 400),
    "chunk with an extension": (_post(CHUNKS, b"1;a=b\r\na\r\n0\r\n\r\n"), 400),
    "chunk of nine digits": (_post(CHUNKS, b"000000001\r\na\r\n0\r\n\r\n"), 400),
    "chunk that is longer than told": (_post(CHUNKS, b"1\r\nab\r\n0\r\n\r\n"), 400),
    "chunk that ends in LF": (_post(CHUNKS, b"1\r\na\n0\r\n\r\n"), 400),
    "chunk that is too large": (_post(CHUNKS, b"ffffffff\r\n"), 413),
    "trailers": (_post(CHUNKS, b"1\r\na\r\n0\r\nA: b\r\n\r\n"), 400),
    "too many chunks": (_post(CHUNKS, b"1\r\na\r\n" * 16_385), 413),
}  # fmt: skip

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
# Two servers in a row may see the end of the first request at different places.
SMUGGLING: dict[str, bytes] = {
    "length and chunks": _post(b"Content-Length: 4\r\n" + CHUNKS, b"0\r\n\r\n"),
    "chunks and length": _post(CHUNKS + b"Content-Length: 4\r\n", b"0\r\n\r\n"),
    "two lengths": _post(b"Content-Length: 0\r\nContent-Length: 36\r\n"),
    "the same length twice": _post(b"Content-Length: 0\r\nContent-Length: 0\r\n"),
    "lengths in a list": _post(b"Content-Length: 0, 36\r\n"),
    "the same length in a list": _post(b"Content-Length: 0, 0\r\n"),
    "length with a plus": _post(b"Content-Length: +0\r\n"),
    "negative length": _post(b"Content-Length: -1\r\n"),
    "hexadecimal length": _post(b"Content-Length: 0x0\r\n"),
    "length with an underscore": _post(b"Content-Length: 0_0\r\n"),
    "length with a space": _post(b"Content-Length: 0 0\r\n"),
    "empty length": _post(b"Content-Length:\r\n"),
    "length beyond 64 bits": _post(b"Content-Length: 18446744073709551616\r\n"),
    "length in another script": _post("Content-Length: \u0660\r\n".encode()),
    "space before the colon of the length": _post(b"Content-Length : 0\r\n"),
    "NUL before the length": _post(b"\0Content-Length: 0\r\n"),
    "folded length": _post(b"Content-Length:\r\n 0\r\n"),
    "length after a bare LF": _post(b"A: b\nContent-Length: 36\r\n"),
    "length after a bare CR": _post(b"A: b\rContent-Length: 36\r\n"),
    "chunks twice": _post(CHUNKS + CHUNKS, b"0\r\n\r\n"),
    "chunked twice": _post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"),
    "chunked, not last": _post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
    "chunked after another": _post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    "nearly chunked": _post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    "chunked in quotes": _post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"),
    "chunked after a vertical tab": _post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"),
    "identity": _post(b"Transfer-Encoding: identity\r\n"),
    "empty encoding": _post(b"Transfer-Encoding:\r\n"),
    "space before the colon of the encoding": _post(b"Transfer-Encoding : chunked\r\n"),
    "folded encoding": _post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
    "chunks of HTTP/1.0": (
        b"POST / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n" + CHUNKS + b"\r\n0\r\n\r\n"
    ),
    "chunks of a GET with a length": _get(CHUNKS + b"Content-Length: 5\r\n") + b"0\r\n\r\n",
    "size that overflows 32 bits": _post(CHUNKS, b"100000000\r\n"),
    "size that overflows 64 bits": _post(CHUNKS, b"10000000000000000\r\n"),
    "size after a space": _post(CHUNKS, b" 0\r\n\r\n"),
    "extension with a line feed": _post(CHUNKS, b"0;\n\r\n"),
    "end of chunks by LF": _post(CHUNKS, b"0\n\n"),
    "end of chunks by CR": _post(CHUNKS, b"0\r\r\n"),
    "trailer that frames": _post(CHUNKS, b"0\r\nContent-Length: 36\r\n\r\n"),
}


@pytest.fixture(name="served", scope="module")
def _served() -> Iterator[Served]:
    with serving() as served:
        yield served


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_refused(served: Served, name: str) -> None:
    """Each gets the status for it, with its code, and the end of the connection."""
    raw, status = MALFORMED[name]
    with served.connect() as connection:
        connection.sendall(raw)
        answer = read_answer(connection)
        assert answer.status == status
        assert answer.error == f"http.{status}"
        assert len(answer.body) < 200
        assert is_closed(connection)


@pytest.mark.parametrize("name", SMUGGLING)
def test_ambiguous_requests_end_the_connection(served: Served, name: str) -> None:
    """What follows an ambiguous request on its connection is never taken for a request."""
    with served.connect() as connection:
        connection.sendall(SMUGGLING[name] + SMUGGLED)
        answer = read_answer(connection)
        assert answer.status in (400, 413, 501)
        assert answer.headers["connection"] == "close"
        assert is_closed(connection)


def test_requests_behind_a_length_are_content(served: Served) -> None:
    """A length covers what looks like a request; what follows it is one."""
    with served.connect() as connection:
        connection.sendall(_post(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED) + _get(b""))
        assert read_answer(connection).body.endswith(SMUGGLED)
        assert read_answer(connection).body.startswith(b"GET /?")
