"""Looks for secrets where none may be, in every spelling that programs give them."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

_SPELLED = 3  # bytes that four characters of base64 stand for


def spellings(secret: bytes) -> dict[str, bytes]:
    """Return a secret as it could stand in a file, by the name of the spelling.

    In base64 a secret inside something longer has one of three forms; the characters at the ends,
    which also depend on what is beside it, are left out.
    """
    found = {"raw": secret, "hex": secret.hex().encode(), "HEX": secret.hex().upper().encode()}
    for place in range(_SPELLED):
        padded = bytes(place) + secret
        padded = padded[: len(padded) // _SPELLED * _SPELLED]
        first = 4 if place else 0
        found[f"base64+{place}"] = base64.b64encode(padded)[first:]
        found[f"base64url+{place}"] = base64.urlsafe_b64encode(padded)[first:]
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return found
    found["utf-16-le"] = text.encode("utf-16-le")
    found["utf-16-be"] = text.encode("utf-16-be")
    return found


def found_in(data: bytes, secret: bytes) -> list[str]:
    """Return the spellings of a secret that are in some bytes."""
    return [name for name, spelled in spellings(secret).items() if spelled in data]


def leaks(
    secrets: Mapping[str, bytes], *, folders: Iterable[Path] = (), outputs: Iterable[bytes] = ()
) -> list[str]:
    """Return where which secret is found, in all files under folders and in what was printed.

    Args:
        secrets: the secrets, each of at least eight bytes, by a name to tell them by.
        folders: folders; names of files are looked at too.
        outputs: what programs printed.
    """
    assert all(len(secret) >= 8 for secret in secrets.values()), "too short to be looked for"
    places = {f"output {number}": data for number, data in enumerate(outputs)}
    for folder in folders:
        places.update(_contents(folder))
    return [
        f"{name} ({spelling}) in {place}"
        for place, data in places.items()
        for name, secret in secrets.items()
        for spelling in found_in(data, secret)
    ]


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        yield str(path), str(path).encode() + b"\n" + data
