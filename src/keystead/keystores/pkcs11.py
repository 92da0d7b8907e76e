"""Private keys that are made in a PKCS#11 token and never leave it.

Each use opens a session, logs in, and ends with it, so that a process that runs for weeks holds
no session, and a token that was pulled out and put back is used as if nothing had happened. A
failure starts the module afresh, which also ends the sessions that it left; one that may come
from a removed token is then tried once more. A PIN that was refused is never tried again.

A token is not trusted with its signatures: each is verified before it is given out, for a fault
while signing can tell the private key.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from keystead import suites
from keystead.custody.uri import TokenUri
from keystead.errors import ErrorCode, KeystoreError
from keystead.suites import Suite

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec
    from pkcs11 import Attribute, Object, PKCS11Error, Session, SignMixin, Token
    from pkcs11._pkcs11 import lib as Library  # noqa: N812 - it is a class

_Result = TypeVar("_Result")

# A module knows one login per process and token, and is started without locks of its own.
_TURN: Final = threading.Lock()

# What is signed to see that a new key works. No key event starts like it.
_TRIAL: Final = b"keystead: this token can use the key that it made"

# DER of the curves' names; tokens spell that of Ed25519 in both ways that PKCS#11 3.0 allows.
_CURVES: Final = {
    Suite.ED25519: (bytes.fromhex("06032b6570"), b"\x13\x0cedwards25519"),
    Suite.SECP256R1: (bytes.fromhex("06082a8648ce3d030107"),),
    Suite.SECP256K1: (bytes.fromhex("06052b8104000a"),),
}
# Names of the mechanisms that make a key and sign with it.
_MECHANISMS: Final = {
    Suite.ED25519: ("EC_EDWARDS_KEY_PAIR_GEN", "EDDSA"),
    Suite.SECP256R1: ("EC_KEY_PAIR_GEN", "ECDSA"),
    Suite.SECP256K1: ("EC_KEY_PAIR_GEN", "ECDSA"),
}
_POINT_BYTES: Final = {
    Suite.ED25519: (32,),
    Suite.SECP256R1: (33, 65),
    Suite.SECP256K1: (33, 65),
}
_OCTETS: Final = 4  # tag of an OCTET STRING in DER


class TokenInfo(msgspec.Struct, frozen=True, gc=False):
    """A token that is present.

    Attributes:
        label: its name.
        serial: its serial number.
        manufacturer: who made it.
        suites: the suites for which it has mechanisms; whether it has the curve of an ECDSA
            suite shows when a key is made.
    """

    label: str
    serial: str
    manufacturer: str
    suites: tuple[Suite, ...]


class TokenSigner:
    """One private key in a token.

    Args:
        uri: where it is.
        suite: what it signs with.
        pin: PIN of the token.
        public_key: its raw public key.
    """

    def __init__(self, uri: TokenUri, suite: Suite, *, pin: str, public_key: bytes) -> None:
        self._uri = uri
        self._suite = suite
        self._pin = pin
        self._public_key = public_key

    @property
    def public_key(self) -> bytes:
        """The raw public key."""
        return self._public_key

    def sign(self, payload: bytes) -> bytes:
        """Return the raw signature over `payload`; 64 bytes, ECDSA over SHA-256 with low S.

        Raises:
            KeystoreError: the token or the key is not there, fails, or made a signature that
                does not verify (keystore.token), it refuses the PIN (keystore.token_pin), or it
                has no mechanism for this (keystore.mechanism).
        """
        signature = _in_session(
            self._uri, self._pin, lambda session: self._signature(session, payload)
        )
        if not suites.verify(self._suite, self._public_key, signature, payload):
            raise KeystoreError(
                ErrorCode.TOKEN,
                f"{_named(self._uri)} made a signature that does not verify; it was thrown away",
                hint="the token is faulty, or its key was replaced; do not sign with it",
            )
        return signature

    def _signature(self, session: "Session", payload: bytes) -> bytes:
        from pkcs11 import Attribute, Mechanism  # noqa: PLC0415 - an extra

        _check_mechanisms(session.token, self._suite, make=False)
        key = _private_half(session, self._uri)
        # Some keys ask for the PIN before each signature.
        pin = self._pin if _attribute(key, Attribute.ALWAYS_AUTHENTICATE) else None
        data = payload if self._suite is Suite.ED25519 else sha256(payload).digest()
        _, mechanism = _MECHANISMS[self._suite]
        signature = key.sign(data, mechanism=Mechanism[mechanism], pin=pin)
        return signature if self._suite is Suite.ED25519 else _with_low_s(self._suite, signature)


def token_signer(uri: TokenUri, suite: Suite, pin: bytes, *, make: bool) -> TokenSigner:
    """Return the signer for the key that is labelled `uri.object`.

    Args:
        uri: where the key is.
        suite: what it signs with.
        pin: PIN of the token, as UTF-8.
        make: make the key if there is none, and try it, so that nobody commits to a key that
            cannot sign.

    Raises:
        KeystoreError: the module, the token or the key is not there or fails, there are several
            with this label, or the key is another's or could be read out (keystore.token), the
            token refuses the PIN (keystore.token_pin), or it has no mechanism for the suite
            (keystore.mechanism).
    """
    if suite not in _CURVES:
        raise KeystoreError(ErrorCode.MECHANISM, f"Keystead uses no {suite.value} keys in tokens")
    text = _pin_text(pin)
    if make and not _in_session(uri, text, lambda session: bool(_private_halves(session, uri))):
        _in_session(uri, text, lambda session: _make(session, uri, suite), write=True)
    key = _in_session(uri, text, lambda session: _usable_key(session, uri, suite))
    signer = TokenSigner(uri, suite, pin=text, public_key=key)
    if make:
        signer.sign(_TRIAL)
    return signer


def destroy(uri: TokenUri, pin: bytes) -> None:
    """Remove both halves of a key from its token; it is fine if they are gone already.

    Raises:
        KeystoreError: the token is not there or fails, or there are several keys with this label
            (keystore.token), or the token refuses the PIN (keystore.token_pin).
    """

    def remove(session: "Session") -> None:
        private = _private_halves(session, uri)
        if len(private) > 1:
            raise _ambiguous(uri)
        for one in (*private, *_public_halves(session, uri)):
            one.destroy()

    _in_session(uri, _pin_text(pin), remove, write=True)


def check_pin(module: str, token: str, serial: str, pin: bytes) -> None:
    """Check that a token takes a PIN; a wrong one counts, so it is tried once only.

    Args:
        module: absolute path of the library that speaks to the token.
        token: label of the token.
        serial: its serial number, empty if the label is enough.
        pin: the PIN, as UTF-8.

    Raises:
        UsageError: no token can have this label or number (usage.argument).
        KeystoreError: the token is not there or fails (keystore.token), or it refuses the PIN
            (keystore.token_pin).
    """
    uri = TokenUri(module, token, "PIN", serial)
    _in_session(uri, _pin_text(pin), lambda session: _private_halves(session, uri))


def list_tokens(module: str) -> list[TokenInfo]:
    """Return the tokens that are present and set up.

    Args:
        module: absolute path of the library that speaks to them.

    Raises:
        KeystoreError: there is no PKCS#11 module at this path, or it fails (keystore.token).
    """
    _check_installed()
    import pkcs11  # noqa: PLC0415 - an extra

    if not module.startswith("/"):  # the system would search for it
        raise KeystoreError(ErrorCode.TOKEN, "the path of a PKCS#11 module must be absolute")
    with _TURN:
        _restart(module)  # some modules look for tokens only when they start
        try:
            return [
                TokenInfo(
                    token.label,
                    _serial(token),
                    token.manufacturer_id,
                    tuple(one for one in _CURVES if _has_mechanisms(token, one, make=True)),
                )
                for token in _tokens(_library(module))
            ]
        except pkcs11.PKCS11Error as error:
            _restart(module)
            raise KeystoreError(ErrorCode.TOKEN, f"{module} failed: {_reason(error)}") from error


def _in_session(
    uri: TokenUri, pin: str, work: Callable[["Session"], _Result], *, write: bool = False
) -> _Result:
    """Do `work` in a session of its own; twice, if the token seems to have been away."""
    _check_installed()
    import pkcs11  # noqa: PLC0415 - an extra

    with _TURN:
        try:
            return _attempt(uri, pin, work, write=write)
        except pkcs11.PKCS11Error as error:
            _restart(uri.module)
            if not _may_be_back(error):
                raise _told(error, uri) from error
        try:
            return _attempt(uri, pin, work, write=write)
        except pkcs11.PKCS11Error as error:
            _restart(uri.module)
            raise _told(error, uri) from error


def _attempt(
    uri: TokenUri, pin: str, work: Callable[["Session"], _Result], *, write: bool
) -> _Result:
    token = _token(_library(uri.module), uri)
    with token.open(rw=write, user_pin=pin) as session:
        return work(session)


def _make(session: "Session", uri: TokenUri, suite: Suite) -> None:
    """Make a key pair, unless there is one."""
    import pkcs11  # noqa: PLC0415 - an extra
    from pkcs11 import Attribute, KeyType, MechanismFlag  # noqa: PLC0415 - as above

    _check_mechanisms(session.token, suite, make=True)
    if _private_halves(session, uri):
        return
    for one in _public_halves(
        session, uri
    ):  # of a pair that was being made or destroyed when something broke
        if _attribute(one, Attribute.ID) != _object_id(uri):
            raise _ambiguous(uri)
        one.destroy()
    mechanism, _ = _MECHANISMS[suite]
    parameters = session.create_domain_parameters(
        KeyType.EC_EDWARDS if suite is Suite.ED25519 else KeyType.EC,
        {Attribute.EC_PARAMS: _CURVES[suite][0]},
        local=True,
    )
    try:
        parameters.generate_keypair(
            id=_object_id(uri),
            label=uri.object,
            store=True,
            capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
            mechanism=pkcs11.Mechanism[mechanism],
            private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
        )
    except pkcs11.PKCS11Error as error:
        # CKR_CURVE_NOT_SUPPORTED has no class.
        known = isinstance(error, pkcs11.DomainParamsInvalid | pkcs11.MechanismInvalid)
        if known or str(error).endswith(" 0x140"):
            raise _no_mechanism(session.token, suite) from error
        raise


def _usable_key(session: "Session", uri: TokenUri, suite: Suite) -> bytes:
    """Return the raw public key of a key that fits, and that nobody can read out."""
    from pkcs11 import Attribute  # noqa: PLC0415 - an extra

    _check_mechanisms(session.token, suite, make=False)
    private = _private_half(session, uri)
    public = _public_halves(session, uri)
    if len(public) > 1:
        raise _ambiguous(uri)
    if not public:
        raise _unusable(uri, "has no public half")
    if _attribute(public[0], Attribute.EC_PARAMS) not in _CURVES[suite]:
        raise _unusable(uri, f"is no {suite.value} key")
    extractable = _attribute(private, Attribute.EXTRACTABLE)
    if extractable is not False or not _attribute(private, Attribute.SENSITIVE):
        raise _unusable(uri, "could be read out of the token")
    key = _raw_public_key(suite, _attribute(public[0], Attribute.EC_POINT))
    if key is None:
        raise _unusable(uri, "has a public half that is no point of its curve")
    return key


def _private_halves(session: "Session", uri: TokenUri) -> list["Object"]:
    from pkcs11 import Attribute, ObjectClass  # noqa: PLC0415 - an extra

    searched = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: uri.object}
    return list(session.get_objects(searched))


def _public_halves(session: "Session", uri: TokenUri) -> list["Object"]:
    from pkcs11 import Attribute, ObjectClass  # noqa: PLC0415 - an extra

    searched = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: uri.object}
    return list(session.get_objects(searched))


def _private_half(session: "Session", uri: TokenUri) -> "SignMixin":
    from pkcs11 import SignMixin  # noqa: PLC0415 - an extra

    private = _private_halves(session, uri)
    if len(private) > 1:
        raise _ambiguous(uri)
    if not private:
        raise KeystoreError(
            ErrorCode.TOKEN,
            f"{_named(uri)} has no private key with the label {uri.object!r}",
            hint="a key that was deleted from its token cannot be brought back",
        )
    if not isinstance(private[0], SignMixin):
        raise _unusable(uri, "may not sign")
    return private[0]


def _attribute(one: "Object", name: "Attribute") -> Any:  # noqa: ANN401 - each has its own type
    """Return an attribute, None if the token does not tell it."""
    import pkcs11  # noqa: PLC0415 - an extra

    try:
        return one[name]
    except (pkcs11.AttributeTypeInvalid, pkcs11.AttributeSensitive, pkcs11.FunctionFailed):
        return None


def _object_id(uri: TokenUri) -> bytes:
    """Return the id that both halves of a key get, and by which half a pair is known as ours."""
    return sha256(uri.object.encode()).digest()[:16]


def _raw_public_key(suite: Suite, point: bytes) -> bytes | None:
    """Return the raw public key of an EC_POINT, which some tokens do not wrap in DER."""
    sizes = _POINT_BYTES[suite]
    if point[:2] in [bytes([_OCTETS, size]) for size in sizes] and len(point) == point[1] + 2:
        point = point[2:]
    if len(point) not in sizes:
        return None
    if suite is Suite.ED25519:
        return point
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - ECDSA only
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - as above

    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(_curve(suite), point)
    except ValueError:
        return None
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)


def _with_low_s(suite: Suite, signature: bytes) -> bytes:
    r, s = signature[:32], int.from_bytes(signature[32:], "big")
    order = _curve(suite).group_order
    if len(signature) != suites.SIGNATURE_BYTES or not order // 2 < s < order:
        return signature
    return r + (order - s).to_bytes(32, "big")


def _curve(suite: Suite) -> "ec.EllipticCurve":
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - ECDSA only

    return ec.SECP256K1() if suite is Suite.SECP256K1 else ec.SECP256R1()


def _check_mechanisms(token: "Token", suite: Suite, *, make: bool) -> None:
    if not _has_mechanisms(token, suite, make=make):
        raise _no_mechanism(token, suite)


def _has_mechanisms(token: "Token", suite: Suite, *, make: bool) -> bool:
    from pkcs11 import Mechanism  # noqa: PLC0415 - an extra

    needed = _MECHANISMS[suite] if make else _MECHANISMS[suite][1:]
    return {Mechanism[one] for one in needed} <= token.slot.get_mechanisms()


def _tokens(library: "Library") -> Iterator["Token"]:
    """Give the tokens that are set up."""
    import pkcs11  # noqa: PLC0415 - an extra

    for slot in library.get_slots(token_present=True):
        try:
            token = slot.get_token()
        except pkcs11.PKCS11Error:
            continue  # it was removed just now, or is none that the module understands
        if token.flags & pkcs11.TokenFlag.TOKEN_INITIALIZED:
            yield token


def _token(library: "Library", uri: TokenUri) -> "Token":
    import pkcs11  # noqa: PLC0415 - an extra

    found = [
        token
        for token in _tokens(library)
        if token.label == uri.token and uri.serial in ("", _serial(token))
    ]
    if not found:
        raise pkcs11.NoSuchToken
    if len(found) > 1:
        raise pkcs11.MultipleTokensReturned
    return found[0]


def _serial(token: "Token") -> str:
    return token.serial.decode("ascii", "replace").strip(" \0")


def _library(module: str) -> "Library":
    """Return the module, started."""
    import pkcs11  # noqa: PLC0415 - an extra

    try:
        return pkcs11.lib(module)
    except pkcs11.PKCS11Error as error:
        said = _reason(error).removeprefix(f"OS exception while loading {module}: ")
        raise KeystoreError(
            ErrorCode.TOKEN,
            f"{module} is no PKCS#11 module that works: {said.removeprefix(f'{module}: ')}",
        ) from error


def _restart(module: str) -> None:
    """End every session with the tokens of a module; it starts again at its next use."""
    import pkcs11  # noqa: PLC0415 - an extra

    library = _library(module)
    with suppress(pkcs11.PKCS11Error):
        library.finalize()


def _check_installed() -> None:
    try:
        import pkcs11  # noqa: F401, PLC0415 - an extra, and asked for just here
    except ImportError as error:
        raise KeystoreError(
            ErrorCode.TOKEN,
            "this installation of Keystead cannot speak to tokens",
            hint="install what it takes with: pip install 'keystead[hsm]'",
        ) from error


def _pin_text(pin: bytes) -> str:
    try:
        text = pin.decode()
    except UnicodeDecodeError:
        text = ""
    if not text:  # not raised above, where the error would take the PIN along as its context
        raise KeystoreError(ErrorCode.TOKEN_PIN, "a PIN is UTF-8 text, and not empty")
    return text


def _may_be_back(error: "PKCS11Error") -> bool:
    """Tell whether the module, started afresh, may find the token again.

    Never for errors of the PIN: a token counts wrong ones. Codes of the maker's own, which have
    no class, may be among those.
    """
    import pkcs11  # noqa: PLC0415 - an extra

    return isinstance(
        error,
        pkcs11.DeviceError
        | pkcs11.DeviceRemoved
        | pkcs11.FunctionFailed
        | pkcs11.GeneralError
        | pkcs11.KeyHandleInvalid
        | pkcs11.NoSuchToken
        | pkcs11.ObjectHandleInvalid
        | pkcs11.SessionClosed
        | pkcs11.SessionCount
        | pkcs11.SessionHandleInvalid
        | pkcs11.SlotIDInvalid
        | pkcs11.TokenNotPresent
        | pkcs11.TokenNotRecognised
        | pkcs11.UserAlreadyLoggedIn
        | pkcs11.UserNotLoggedIn,
    )


def _told(error: "PKCS11Error", uri: TokenUri) -> KeystoreError:
    """Return what a module's error means to the owner of the token."""
    import pkcs11  # noqa: PLC0415 - an extra

    token = _named(uri)
    tool = "the tool that came with the token sets a new PIN"
    match error:
        case pkcs11.PinIncorrect() | pkcs11.PinInvalid() | pkcs11.PinLenRange():
            return KeystoreError(ErrorCode.TOKEN_PIN, f"{token} refused the PIN")
        case pkcs11.PinLocked():
            return KeystoreError(ErrorCode.TOKEN_PIN, f"{token} has locked its PIN", hint=tool)
        case pkcs11.PinExpired():
            return KeystoreError(ErrorCode.TOKEN_PIN, f"the PIN of {token} expired", hint=tool)
        case pkcs11.UserPinNotInitialized():
            return KeystoreError(ErrorCode.TOKEN_PIN, f"{token} has no PIN yet", hint=tool)
        case pkcs11.NoSuchToken():
            return KeystoreError(ErrorCode.TOKEN, f"{token} is not there")
        case pkcs11.MultipleTokensReturned():
            return KeystoreError(
                ErrorCode.TOKEN,
                f"several tokens that are there are called {uri.token!r}",
                hint="name the serial number too, which the token's own tool shows",
            )
        case _:
            return KeystoreError(
                ErrorCode.TOKEN, f"{token} failed or was removed: {_reason(error)}"
            )


def _ambiguous(uri: TokenUri) -> KeystoreError:
    return KeystoreError(
        ErrorCode.TOKEN,
        f"{_named(uri)} has several keys with the label {uri.object!r}",
        hint="remove or rename those that Keystead did not make, with the token's own tool",
    )


def _unusable(uri: TokenUri, fault: str) -> KeystoreError:
    return KeystoreError(
        ErrorCode.TOKEN,
        f"the key {uri.object!r} in {_named(uri)} {fault}",
        hint="let Keystead make a key of its own in the token",
    )


def _no_mechanism(token: "Token", suite: Suite) -> KeystoreError:
    return KeystoreError(
        ErrorCode.MECHANISM, f"token {token.label!r} has no mechanism for {suite.value}"
    )


def _named(uri: TokenUri) -> str:
    return f"token {uri.token!r}" + (f" with serial number {uri.serial}" if uri.serial else "")


def _reason(error: "PKCS11Error") -> str:
    return str(error) or type(error).__name__
