"""The stream reader: bytes in, in pieces of any size; framed messages out.

Theory of operation. A stream is a sequence of frames: a body (JSON, CBOR or MessagePack) and its
attachments, either one `-V` group or bare groups up to the next body. `-V` tells where the frame
ends, so such a message is out as soon as it is complete; bare groups end where the next body
starts or the stream is closed. Line feeds, carriage returns and tabs between frames, and between
a body and its attachments, are annotation and skipped.

After a fault the reader looks for the next place where a body can start. Where a `-V` group
frames the fault, only that message is lost. What is skipped comes out as one `Malformed`.

Results depend on the bytes alone, never on how they were cut. One reader serves one connection.

Source: CESR specification, "Cold start Stream parsing problem" and "Stream parsing rules".
"""

import re
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from keystead.cesr import base64, groups
from keystead.cesr import body as bodies
from keystead.cesr.body import Body, Content
from keystead.cesr.codes import VERSION_1, GroupKind
from keystead.cesr.groups import Cursor, Group, NeedMore
from keystead.cesr.versions import HEAD_BYTES, Kind, Protocol, find_start, may_start, read_head
from keystead.errors import DecodeError, ErrorCode
from keystead.limits import DEFAULT_LIMITS, Limits


class Message(msgspec.Struct, frozen=True, gc=False):
    """One framed message; its content is not verified.

    Attributes:
        protocol: KERI or ACDC.
        kind: serialization of the body.
        content: the field map, or the pattern match that tells what the body holds.
        raw: the bytes of the body.
        groups: its attachments in order.
        start: offset of the body in the stream.
        end: offset behind the attachments.
    """

    protocol: Protocol
    kind: Kind
    content: Content
    raw: bytes
    groups: tuple[Group, ...]
    start: int
    end: int

    @property
    def body(self) -> Body:
        """The field map."""
        if isinstance(self.content, dict):
            return self.content
        return bodies.decode(self.raw, self.kind, DEFAULT_LIMITS)


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """A part of the stream that is no message.

    Attributes:
        error: what is wrong at `start`.
        start: offset in the stream.
        end: offset where reading went on.
    """

    error: DecodeError
    start: int
    end: int

    def __post_init__(self) -> None:
        """Keep the error alone."""
        self.error.forget_frames()


_ANNOTATION = b"\t\n\r"
_ANNOTATIONS = re.compile(rb"[\t\n\r]+")
_TEXT_DASH = 0x2D
_DASH_SEXTET = 62
_TEXT_V = 0x56
_SMALL_COUNTER_CHARS = 4
_BIG_COUNTER_CHARS = 8
_NEXT_JSON = b"{"  # stands in no attachment, so it ends them
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9_-]")


# Bytes of one frame's binary groups that may be read in vain before reading waits for more.
_FREE_REPEATS = 16 * 1024


def _behind_annotation(data: bytes, start: int) -> int:
    blank = _ANNOTATIONS.match(data, start)
    return start if blank is None else blank.end()


class _Open:
    """A frame whose body is read and whose attachments are not complete.

    Attributes:
        protocol: as the version string says.
        kind: as the version string says.
        raw: the body.
        content: its field map, empty when it is refused, or a pattern match.
        error: why it is refused.
        groups: the attachments so far.
        size: bytes of the frame so far.
        searched: bytes of the frame in which no end of bare groups was found.
        repeated: bytes of binary groups that were read and found to lack more.
    """

    __slots__ = (
        "content", "error", "groups", "kind", "protocol", "raw", "repeated", "searched", "size",
    )  # fmt: skip

    def __init__(self, protocol: Protocol, kind: Kind, raw: bytes) -> None:
        self.protocol = protocol
        self.kind = kind
        self.raw = raw
        self.content: Content = {}
        self.error: DecodeError | None = None
        self.groups: list[Group] = []
        self.size = len(raw)
        self.searched = 0
        self.repeated = 0

    def next_attempt(self, least: int, read: int) -> int:
        """Return the size at which to read a binary group again.

        Args:
            least: size that it has at the least.
            read: bytes that were read in vain. The next attempt reads them all again, so after a
                while it waits for twice as many: many small pieces must not cost the square of
                their number.
        """
        self.repeated += read
        return least if self.repeated <= _FREE_REPEATS else max(least, 2 * read)


class StreamReader:
    """Reads one stream.

    Usage: `feed` bytes, iterate over the reader for what is complete; at the end `close` it and
    iterate once more.
    """

    def __init__(
        self,
        limits: Limits = DEFAULT_LIMITS,
        decode: Callable[[bytes, Kind], Content] | None = None,
    ) -> None:
        """Start at the beginning of a stream.

        Args:
            limits: bounds.
            decode: reads a body; one that knows the usual forms of a protocol is faster.
        """
        self._limits = limits
        self._decode = decode or partial(bodies.decode, limits=limits)
        self._data = b""  # the buffer
        self._position = 0  # of the current frame in the buffer
        self._offset = 0  # of the buffer in the stream
        self._chunks: list[bytes] = []  # what is not in the buffer yet
        self._waiting = 0  # bytes in `_chunks`
        self._need = 1  # bytes from the current frame on that the next attempt takes
        self._closed = False
        self._open: _Open | None = None
        self._fault: Malformed | None = None  # what is being skipped; its end is not known yet
        self._spent = 0  # bytes that were decoded in vain
        self._refused: DecodeError | None = None  # why the body at the position is refused

    def feed(self, data: bytes) -> None:
        """Add bytes of the stream.

        Raises:
            ValueError: the reader is closed.
        """
        if self._closed:
            raise ValueError("the reader is closed")
        self._chunks.append(bytes(data))
        self._waiting += len(data)

    def close(self) -> None:
        """Tell that the stream has ended."""
        self._closed = True

    def __iter__(self) -> Iterator[Message | Malformed]:
        """Give the messages and faults that the bytes so far determine."""
        while self._closed or len(self._data) - self._position + self._waiting >= self._need:
            self._join()
            if self._open is None and self._fault is None:
                yield from self._read_whole()
            if self._position == len(self._data) and self._open is None:
                break
            try:
                item = self._step()
            except NeedMore as short:
                self._need = short.position - self._position
                continue
            self._need = 1
            if item is not None:
                yield item
        if self._closed and self._fault is not None:
            yield self._end_fault()

    def _join(self) -> None:
        if self._chunks:
            self._offset += self._position
            self._data = b"".join([self._data[self._position :], *self._chunks])
            self._position = 0
            self._chunks.clear()
            self._waiting = 0

    def _advance(self, size: int) -> None:
        self._position += size

    def _may_retry(self) -> bool:
        """Tell whether the stream so far allows to decode more bytes in vain."""
        seen = self._offset + self._position
        return self._spent < self._limits.body + seen * self._limits.resync_work

    def _step(self) -> Message | Malformed | None:
        """Make one step from the current position; None when it gave nothing.

        Raises:
            NeedMore: the buffer ends too early, and the stream goes on.
        """
        if self._fault is not None:
            return self._skip()
        if self._open is None:
            self._open = self._read_body()
        if self._open is None:
            return None
        return self._read_attachments(self._open)

    def _read_whole(self) -> Iterator[Message]:
        """Read frames that are all there and have nothing unusual.

        These are most of every stream, so this is short; at the first other frame it leaves off
        for the careful way, step by step, which gives the same message where this gives one.
        """
        data, offset, decode, limits = self._data, self._offset, self._decode, self._limits
        most_body, most_attached = limits.body, limits.attachments
        start, last = self._position, len(data) - _SMALL_COUNTER_CHARS
        while True:
            try:
                protocol, kind, size = read_head(data[start : start + HEAD_BYTES])
                at = start + size
                if size > most_body or at > last:
                    return
                raw = data[start:at]
                if data[at + 1] == _TEXT_V:
                    _, count, at = groups.read_counter(data, at)
                    end = at + 4 * count
                    if end > len(data):
                        return
                else:
                    end = data.find(_NEXT_JSON, at, at + most_attached + 1)
                if not 0 <= end - start - size <= most_attached:
                    return
                try:
                    content = decode(raw, kind)
                except DecodeError as error:
                    self._refused = error
                    return
                attached = groups.read_framed(base64.decode(data[at:end]), limits)
            except DecodeError:
                return
            self._position = end
            yield Message(protocol, kind, content, raw, attached, offset + start, offset + end)
            start = end

    def _read_body(self) -> _Open | None:
        """Read the body at the current position, or step over what is none."""
        start = self._position
        if not may_start(self._data[start]):
            self._position = _behind_annotation(self._data, start)
            if self._position == start:
                self._read_genus()
            return None
        self._require(HEAD_BYTES)
        cut = DecodeError(ErrorCode.TRUNCATED, "the stream ends inside a body")
        try:
            protocol, kind, size = read_head(self._data[start : start + HEAD_BYTES])
        except DecodeError as error:
            self._start_fault(cut if start + HEAD_BYTES > len(self._data) else error, 1)
            return None
        if size > self._limits.body:
            limit = self._limits.body
            large = DecodeError(ErrorCode.LIMIT, f"a body of {size} bytes, over {limit}")
            self._start_fault(large, 1)
            return None
        self._require(size)
        if start + size > len(self._data):
            self._start_fault(cut, 1)
            return None
        frame = _Open(protocol, kind, self._data[start : start + size])
        frame.error, self._refused = self._refused, None
        if frame.error is None:
            try:
                frame.content = self._decode(frame.raw, kind)
            except DecodeError as error:
                frame.error = error
        if frame.error is not None and frame.error.code is ErrorCode.BODY:
            # Then its size cannot be trusted either.
            self._spent += size
            self._start_fault(frame.error, 1 if self._may_retry() else size)
            return None
        return frame

    def _read_genus(self) -> None:
        """Read a genus and version code in front of a message; nothing else may stand there."""
        start = self._position
        first = self._data[start]
        error = DecodeError(ErrorCode.COLD_START, "no message starts here")
        size = 0
        if first == _TEXT_DASH:
            size = _BIG_COUNTER_CHARS
        elif first >> 2 == _DASH_SEXTET:
            size = _BIG_COUNTER_CHARS * 3 // 4
        if size:
            self._require(size)
            head = self._data[start : start + size]
            text = head if first == _TEXT_DASH else base64.encode(head[: len(head) // 3 * 3])
            try:
                row, version, _ = groups.read_counter(text)
            except DecodeError as fault:
                error = fault
            else:
                if row.kind is GroupKind.GENUS_VERSION:
                    major = version >> 12
                    if major == VERSION_1.major:
                        self._advance(size)
                        return
                    error = DecodeError(
                        ErrorCode.UNSUPPORTED_VERSION, f"code tables of version {major}"
                    )
        self._start_fault(error, 1)

    def _read_attachments(self, frame: _Open) -> Message | Malformed | None:
        """Read groups until the frame is complete."""
        while True:
            at = self._position + frame.size
            if at >= len(self._data):
                self._require(frame.size + 1)
                return self._end_frame(frame)
            first = self._data[at]
            if first == _TEXT_DASH:
                read = self._read_text
            elif first >> 2 == _DASH_SEXTET:
                read = self._read_binary
            elif first in _ANNOTATION:
                read = self._read_annotation
            else:
                return self._end_frame(frame)
            try:
                complete = read(frame, at)
            except DecodeError as error:
                # The end of the attachments is not known: go on with the next body.
                self._start_fault(frame.error or error, len(frame.raw))
                return None
            if complete:
                return self._end_frame(frame)

    def _read_annotation(self, frame: _Open, at: int) -> bool:
        """Step over the annotation at `at`, which counts as attached: it must end somewhere."""
        end = _behind_annotation(self._data, at)
        self._claim(frame, end)
        frame.size = end - self._position
        return False

    def _read_text(self, frame: _Open, at: int) -> bool:
        """Read the groups in the text domain at `at`; True when they complete the frame."""
        self._require(at + _SMALL_COUNTER_CHARS - self._position)
        head = self._data[at : at + _BIG_COUNTER_CHARS]
        if len(head) < _SMALL_COUNTER_CHARS:
            raise self._lack(frame, at + _SMALL_COUNTER_CHARS)
        if head[1:2] in b"0-_":
            self._require(at + _BIG_COUNTER_CHARS - self._position)
        row, count, size = groups.read_counter(head)
        if row.kind is GroupKind.ATTACHMENTS and not frame.groups:
            end = at + size + 4 * count
            self._claim(frame, end)
            self._read_frame(frame, base64.decode, at + size, end)
            return True
        end = self._end_of_text(frame)
        self._claim(frame, end)
        text = self._data[at:end]
        # What the next body cuts off is malformed, what the end of the stream cuts off is missing.
        framed = end < len(self._data)
        cursor = Cursor(base64.decode(text[: len(text) // 4 * 4]), 0, framed=framed)
        try:
            while 4 * cursor.position < 3 * len(text):
                start = cursor.position
                row, count = cursor.counter()
                if row.kind is GroupKind.GENUS_VERSION:
                    frame.size = at + start * 4 // 3 - self._position
                    return True
                frame.groups.append(groups.read_group(cursor, row, count, self._limits))
        except NeedMore:
            raise self._lack(frame, end + 1) from None
        frame.size = end - self._position
        return False

    def _read_binary(self, frame: _Open, at: int) -> bool:
        """Read the group in the binary domain at `at`; True when it completes the frame."""
        # No group may look beyond the limit, lest it matter how much of the stream is there.
        limit = self._position + len(frame.raw) + self._limits.attachments
        cursor = Cursor(self._data[at:limit], 0, framed=False)
        try:
            row, count = cursor.counter()
            if row.kind is GroupKind.GENUS_VERSION:
                return True
            framed = row.kind is GroupKind.ATTACHMENTS and not frame.groups
            if not framed:
                frame.groups.append(groups.read_group(cursor, row, count, self._limits))
        except NeedMore as short:
            need = at + frame.next_attempt(short.position, len(cursor.data))
            raise self._lack(frame, max(at + short.position, min(need, limit))) from None
        end = at + cursor.position
        if framed:
            start, end = end, end + 3 * count
            self._claim(frame, end)
            self._read_frame(frame, bytes, start, end)
            return True
        frame.size = end - self._position
        return False

    def _read_frame(
        self, frame: _Open, to_binary: Callable[[bytes], bytes], start: int, end: int
    ) -> None:
        """Read the groups that a `-V` frames; a fault stays inside it."""
        frame.size = end - self._position
        try:
            binary = to_binary(self._data[start:end])
            frame.groups += groups.read_framed(binary, self._limits)
        except DecodeError as error:
            frame.error = frame.error or error

    def _end_of_text(self, frame: _Open) -> int:
        """Return where the text of bare groups that starts behind the frame so far ends."""
        match = _NOT_BASE64.search(self._data, self._position + max(frame.size, frame.searched))
        if match is not None:
            return match.start()
        end = len(self._data)
        if not self._closed:
            self._claim(frame, end)
            frame.searched = end - self._position
            raise NeedMore(end + 1)
        return end

    def _claim(self, frame: _Open, end: int) -> None:
        """Check that attachments may reach up to `end` of the buffer, and do.

        Raises:
            DecodeError: too large (decode.limit), or the stream ends before (decode.truncated).
            NeedMore: more of the stream is needed.
        """
        attached = end - self._position - len(frame.raw)
        if attached > self._limits.attachments or end > len(self._data):
            raise self._lack(frame, end)

    def _lack(self, frame: _Open, end: int) -> Exception:
        """Tell why attachments cannot reach up to `end`, which may lie beyond the buffer."""
        size = self._limits.attachments
        if end - self._position - len(frame.raw) > size:
            return DecodeError(ErrorCode.LIMIT, f"attachments of more than {size} bytes")
        if self._closed:
            return DecodeError(ErrorCode.TRUNCATED, "the stream ends inside attachments")
        return NeedMore(end)

    def _end_frame(self, frame: _Open) -> Message | Malformed:
        start = self._offset + self._position
        end = start + frame.size
        self._advance(frame.size)
        self._open = None
        if frame.error is not None:
            return Malformed(frame.error, start, end)
        attached = tuple(frame.groups)
        return Message(frame.protocol, frame.kind, frame.content, frame.raw, attached, start, end)

    def _start_fault(self, error: DecodeError, size: int) -> None:
        """Start to skip, `size` bytes behind the current position at the least."""
        start = self._offset + self._position
        self._fault = Malformed(error, start, start)
        self._open = None
        self._advance(size)

    def _skip(self) -> Malformed | None:
        """Go on to the next place where a body can start.

        A start counts only when the longest head would fit behind it, so that what comes later
        cannot make an earlier start appear.
        """
        end = len(self._data)
        sure = end if self._closed else end - HEAD_BYTES
        found = find_start(self._data, self._position)
        if found is not None and found <= sure:
            self._advance(found - self._position)
            return self._end_fault()
        if not self._closed:
            self._advance(max(0, sure + 1 - self._position))
            raise NeedMore(self._position + HEAD_BYTES)
        self._advance(end - self._position)
        return None

    def _end_fault(self) -> Malformed:
        fault = self._fault
        assert fault is not None  # noqa: S101 - both callers checked
        self._fault = None
        return Malformed(fault.error, fault.start, self._offset + self._position)

    def _require(self, size: int) -> None:
        """Ask for `size` bytes from the current position on, unless the stream has ended."""
        end = self._position + size
        if end > len(self._data) and not self._closed:
            raise NeedMore(end)
