"""Self-addressing identifiers: the digest of a field map that contains that digest.

The digest is computed over the serialization with the digest fields filled with `#`.

Source: CESR specification, "Self-addressing identifier (SAID)".
"""

from collections.abc import Sequence

from keystead.cesr import body as bodies
from keystead.cesr.body import Body
from keystead.cesr.codes import DIGEST_CODES, VERSION_1
from keystead.cesr.keys import Digest, digest, is_digest_of
from keystead.cesr.versions import MAX_SIZE, Kind, Protocol, write_version
from keystead.errors import ErrorCode, VerificationError

# Size of a digest -> what stands in its place while it is computed.
_FILLS = {size: b"#" * size for size in (44, 88)}


def check(raw: bytes, said: Digest, aid: Digest | None = None) -> None:
    """Check that a field map holds its own digest.

    Args:
        raw: canonical serialization of the field map.
        said: the digest. Nothing in front of its field can hold the same text: only a version
            string and a message type stand there.
        aid: a second digest in the next field, of the same bytes, maybe by another algorithm.

    Raises:
        VerificationError: another digest (verify.said).
    """
    filled = raw.replace(said.encode(), _FILLS[len(said)], 2 if aid == said else 1)
    if aid is not None and aid != said:
        filled = filled.replace(aid.encode(), _FILLS[len(aid)], 1)
        if not is_digest_of(aid, filled):
            raise _changed()
    if not is_digest_of(said, filled):
        raise _changed()


def _changed() -> VerificationError:
    return VerificationError(ErrorCode.SAID, "the digest does not match the content")


def address(
    fields: Body,
    kind: Kind = Kind.JSON,
    *,
    labels: Sequence[str] = ("d",),
    code: str = "E",
    protocol: Protocol | None = Protocol.KERI,
) -> tuple[bytes, Digest]:
    """Complete a field map with its version string and its digest.

    Args:
        fields: the field map in order; the values of `v` and of `labels` are replaced in it.
        kind: serialization.
        labels: the fields that get the digest.
        code: digest code.
        protocol: protocol of the version string, None for a map without version string.

    Returns:
        The serialization and the digest.

    Raises:
        ValueError: the serialization is too large for a version string, or an unknown code.
    """
    if code not in DIGEST_CODES:
        raise ValueError(f"{code} is no digest code")
    size = VERSION_1.primitives[code].size
    assert size is not None  # noqa: S101 - digests are of fixed size in the table
    for label in labels:
        fields[label] = "#" * size
    raw = serialize(fields, kind, protocol)
    said = digest(raw, code)
    for label in labels:
        fields[label] = said
    return bodies.encode(fields, kind), said


def serialize(fields: Body, kind: Kind, protocol: Protocol | None) -> bytes:
    """Serialize a field map; with a protocol its `v` gets the version string of the true size.

    Raises:
        ValueError: the serialization is too large for a version string.
    """
    if protocol is None:
        return bodies.encode(fields, kind)
    fields["v"] = write_version(protocol, kind, 0)
    size = len(bodies.encode(fields, kind))
    if size > MAX_SIZE:
        raise ValueError(f"a body of {size} bytes is too large for a version string")
    fields["v"] = write_version(protocol, kind, size)
    return bodies.encode(fields, kind)
