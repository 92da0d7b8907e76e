"""Key URIs: where a private key is found, in exactly one spelling each.

`derived:0/17/sign.0/4` is computed from master seed 0: identifier 17, slot 0, key 4.
`imported:KEY` has a seed of its own. `pkcs11:token=LABEL;object=LABEL;type=private?module-path=PATH` is in a token,
as RFC 7512 spells it, with `serial=NUMBER` behind the token's label where two have that label.
A URI is no secret and never holds one: PINs are refused.
"""

import re
from typing import assert_never
from urllib.parse import quote, unquote

import msgspec

from keystead.errors import ErrorCode, UsageError

NUMBER_LIMIT = 2**32  # numbers of epochs, identifiers, slots and keys are below
LABEL_BYTES = 32  # CK_TOKEN_INFO has that many for the label of a token,
SERIAL_BYTES = 16  # and that many for its serial number
OBJECT_BYTES = 255  # far beyond any label that Keystead gives; tokens have limits of their own
PATH_BYTES = 4095  # Linux takes no longer path

_NUMBER = "(0|[1-9][0-9]{0,9})"
_PURPOSE = "[a-z][a-z0-9-]{0,31}"
_KEY = "[A-Za-z0-9_-]{1,64}"
_DERIVED = re.compile(rf"derived:{_NUMBER}/{_NUMBER}/({_PURPOSE})\.{_NUMBER}/{_NUMBER}")
_IMPORTED = re.compile(rf"imported:({_KEY})")
_TOKEN = re.compile(
    r"pkcs11:token=([^;?&]+)(?:;serial=([^;?&]+))?;object=([^;?&]+);type=private"
    r"\?module-path=([^;?&]+)"
)


class DerivedUri(msgspec.Struct, frozen=True, gc=False):
    """A key that is derived from a master seed.

    Attributes:
        epoch: number of the master seed.
        identifier: number of the identifier under it.
        purpose: what the key is for.
        slot: number of the chain of keys, one for each place in the list of keys.
        index: number of the key in its chain.
    """

    epoch: int
    identifier: int
    purpose: str
    slot: int
    index: int

    def __post_init__(self) -> None:
        """Refuse what has no spelling."""
        numbers = (self.epoch, self.identifier, self.slot, self.index)
        _check(all(0 <= one < NUMBER_LIMIT for one in numbers), "a number is out of range")
        _check(re.fullmatch(_PURPOSE, self.purpose) is not None, "its purpose is no plain word")


class ImportedUri(msgspec.Struct, frozen=True, gc=False):
    """A key with a seed of its own.

    Attributes:
        key: id of the key.
    """

    key: str

    def __post_init__(self) -> None:
        """Refuse what has no spelling."""
        _check(re.fullmatch(_KEY, self.key) is not None, "its key has no plain id")


class TokenUri(msgspec.Struct, frozen=True, gc=False):
    """A key in a PKCS#11 token.

    Attributes:
        module: absolute path of the library that speaks to the token.
        token: label of the token.
        object: label of both halves of the key in the token.
        serial: serial number of the token; needed where two tokens have one label.
    """

    module: str
    token: str
    object: str
    serial: str = ""

    def __post_init__(self) -> None:
        """Refuse what no token can have, and what has no spelling."""
        _check(self.module.startswith("/"), "the path of its module is not absolute")
        _check(_fits(self.module, PATH_BYTES), "the path of its module is no printable path")
        _check(_fits(self.token, LABEL_BYTES), "a label of a token has 1 to 32 printable bytes")
        _check(_fits(self.object, OBJECT_BYTES), "a label of a key has 1 to 255 printable bytes")
        _check(
            not self.serial or (_fits(self.serial, SERIAL_BYTES) and self.serial.isascii()),
            "a serial number has at most 16 printable ASCII characters",
        )


KeyUri = DerivedUri | ImportedUri | TokenUri


def parse_uri(text: str) -> KeyUri:
    """Read a key URI.

    Raises:
        UsageError: it is no key URI in its one spelling, or it holds a PIN (usage.argument). The
            error does not repeat the text, for it may hold a secret.
    """
    if re.search(r"(?i)pin-(value|source)=", text):  # in a label there would be %3D
        raise UsageError(
            ErrorCode.ARGUMENT,
            "a key URI must not hold a PIN, nor where one is",
            hint="give the PIN with: keystead token add NAME --pin-file FILE",
        )
    uri = _parsed(text)
    if uri is None or format_uri(uri) != text:
        raise UsageError(ErrorCode.ARGUMENT, "this is not a key URI in its usual spelling")
    return uri


def format_uri(uri: KeyUri) -> str:
    """Return the one spelling of a key URI; everything but A-Z a-z 0-9 . _ ~ - is encoded."""
    match uri:
        case DerivedUri(epoch, identifier, purpose, slot, index):
            return f"derived:{epoch}/{identifier}/{purpose}.{slot}/{index}"
        case ImportedUri(key):
            return f"imported:{key}"
        case TokenUri(module, token, label, serial):
            number = f";serial={quote(serial, safe='')}" if serial else ""
            return (
                f"pkcs11:token={quote(token, safe='')}{number};object={quote(label, safe='')}"
                f";type=private?module-path={quote(module, safe='/')}"
            )
        case _:
            assert_never(uri)


def _parsed(text: str) -> KeyUri | None:
    if found := _DERIVED.fullmatch(text):
        epoch, identifier, purpose, slot, index = found.groups()
        return DerivedUri(int(epoch), int(identifier), purpose, int(slot), int(index))
    if found := _IMPORTED.fullmatch(text):
        return ImportedUri(found[1])
    if found := _TOKEN.fullmatch(text):
        token, serial, label, module = (unquote(one or "") for one in found.groups())
        return TokenUri(module, token, label, serial)
    return None


def _fits(text: str, size: int) -> bool:
    # Printable text has no surrogates, so that it can be encoded. Tokens pad with spaces.
    return text.isprintable() and text == text.strip(" ") and 0 < len(text.encode()) <= size


def _check(holds: bool, fault: str) -> None:  # noqa: FBT001 - a condition, as for `assert`
    if not holds:
        raise UsageError(ErrorCode.ARGUMENT, f"this key URI cannot be: {fault}")
