"""Keys in PKCS#11 tokens, on real tokens by SoftHSM 2."""

import copy
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass

from keystead import suites
from keystead.custody.uri import TokenUri
from keystead.errors import ErrorCode, KeystoreError
from keystead.keystores.pkcs11 import TokenInfo, destroy, list_tokens, token_signer
from keystead.suites import Suite
from support.softhsm import PIN, SoftHsm, softhsm

SUITES = [Suite.ED25519, Suite.SECP256R1, Suite.SECP256K1]
KEY_BYTES = {Suite.ED25519: 32, Suite.SECP256R1: 33, Suite.SECP256K1: 33}
P256 = bytes.fromhex("06082a8648ce3d030107")
HALF_ORDER = {
    Suite.SECP256K1: 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0,
    Suite.SECP256R1: 0x7FFFFFFF800000007FFFFFFFFFFFFFFFDE737D56D38BCF4279DCE5617E3192A8,
}


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftHsm]:
    """Give SoftHSM with one token, `office`."""
    found = softhsm(tmp_path / "hsm")
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    found.add("office")
    _end(found)
    yield found
    _end(found)


def _end(hsm: SoftHsm) -> None:
    """Stop the library, so that it reads its configuration again."""
    library = pkcs11.lib(hsm.module)
    library.finalize()


def _uri(hsm: SoftHsm, label: str = "key", *, within: str = "office", **changes: str) -> TokenUri:
    return TokenUri(**{"module": hsm.module, "token": within, "object": label, **changes})


def _office(hsm: SoftHsm) -> pkcs11.Token:
    label = "office"
    return pkcs11.lib(hsm.module).get_token(token_label=label)


def _session(hsm: SoftHsm) -> pkcs11.Session:
    """Open a session beside Keystead, as the token's own tools do."""
    return _office(hsm).open(rw=True, user_pin=PIN.decode())


def _make_pair(session: Any, label: str, **attributes: Any) -> tuple[Any, Any]:  # noqa: ANN401 - the library makes its classes at run time
    """Make a P-256 key as somebody else would."""
    parameters = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: P256}, local=True
    )
    public, private = parameters.generate_keypair(
        label=label,
        store=True,
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        private_template={Attribute[name]: value for name, value in attributes.items()},
    )
    return public, private


def _fault(work: Callable[[], object]) -> KeystoreError:
    """Return the error of `work`, of which nothing shows the PIN."""
    with pytest.raises(KeystoreError) as caught:
        work()
    error = caught.value
    shown = "".join(traceback.format_exception(error))
    assert PIN.decode() not in f"{error!r} {error.hint} {error.fields} {shown}"
    return error


@pytest.mark.parametrize("suite", SUITES)
def test_keys_are_made_and_used_in_the_token(hsm: SoftHsm, suite: Suite) -> None:
    """A key made in a token signs so that the public key it gave verifies it."""
    signer = token_signer(_uri(hsm), suite, PIN, make=True)
    assert len(signer.public_key) == KEY_BYTES[suite]
    for payload in (b"", b"a message", bytes(100_000)):
        signature = signer.sign(payload)
        assert len(signature) == 64
        assert suites.verify(suite, signer.public_key, signature, payload)


@pytest.mark.parametrize("suite", SUITES[1:])
def test_ecdsa_signatures_have_low_s(hsm: SoftHsm, suite: Suite) -> None:
    """No ECDSA signature has a high S, though the token makes those half of the time."""
    signer = token_signer(_uri(hsm), suite, PIN, make=True)
    for number in range(20):
        assert int.from_bytes(signer.sign(b"%d" % number)[32:], "big") <= HALF_ORDER[suite]


@pytest.mark.parametrize("suite", SUITES)
def test_a_key_is_found_again(hsm: SoftHsm, suite: Suite) -> None:
    """The same label gives the same key when the module starts anew, asked to make it or not."""
    made = token_signer(_uri(hsm), suite, PIN, make=True)
    _end(hsm)
    assert token_signer(_uri(hsm), suite, PIN, make=False).public_key == made.public_key
    assert token_signer(_uri(hsm), suite, PIN, make=True).public_key == made.public_key


@pytest.mark.parametrize("suite", SUITES)
def test_private_keys_cannot_be_read(hsm: SoftHsm, suite: Suite) -> None:
    """A key that was made in the token is private, sensitive, and never was extractable."""
    token_signer(_uri(hsm), suite, PIN, make=True)
    with _session(hsm) as session:
        (key,) = session.get_objects(
            {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: "key"}
        )
        assert key[Attribute.TOKEN]
        assert key[Attribute.PRIVATE]
        assert key[Attribute.ALWAYS_SENSITIVE]
        assert key[Attribute.NEVER_EXTRACTABLE]
        assert not key[Attribute.DERIVE]
        with pytest.raises(pkcs11.AttributeSensitive):
            key[Attribute.VALUE]


def test_keys_of_two_labels_are_two_keys(hsm: SoftHsm) -> None:
    """A next key is made beside the current one; each goes on signing for itself."""
    first = token_signer(_uri(hsm, "one"), Suite.ED25519, PIN, make=True)
    second = token_signer(_uri(hsm, "two"), Suite.ED25519, PIN, make=True)
    assert first.public_key != second.public_key
    for signer in (first, second):
        assert suites.verify(Suite.ED25519, signer.public_key, signer.sign(b"rot"), b"rot")


def test_a_key_that_is_not_there_is_not_made_unasked(hsm: SoftHsm) -> None:
    """Without `make`, a label that no key has is an error, and stays free."""
    for _ in range(2):
        error = _fault(lambda: token_signer(_uri(hsm), Suite.ED25519, PIN, make=False))
        assert error.code is ErrorCode.TOKEN
        assert "no private key with the label 'key'" in error.message


def test_destroyed_keys_are_gone(hsm: SoftHsm) -> None:
    """Destroying removes both halves of that key only, and does nothing when repeated."""
    signer = token_signer(_uri(hsm), Suite.ED25519, PIN, make=True)
    other = token_signer(_uri(hsm, "other"), Suite.ED25519, PIN, make=True)
    destroy(_uri(hsm), PIN)
    destroy(_uri(hsm), PIN)
    assert _fault(lambda: signer.sign(b"x")).code is ErrorCode.TOKEN
    with _session(hsm) as session:
        assert list(session.get_objects({Attribute.LABEL: "key"})) == []
    assert other.sign(b"x")


@pytest.mark.parametrize(
    ("pin", "told"),
    [
        (b"0000", "token 'office' refused the PIN"),
        (b"x" * 300, "token 'office' refused the PIN"),
        (b"", "a PIN is UTF-8 text, and not empty"),
        (b"\xff\xfe", "a PIN is UTF-8 text, and not empty"),
    ],
)
def test_wrong_pins_are_refused(hsm: SoftHsm, pin: bytes, told: str) -> None:
    """A wrong, too long, empty or undecodable PIN is keystore.token_pin wherever it is given."""
    token_signer(_uri(hsm), Suite.ED25519, PIN, make=True)
    works: list[Callable[[], object]] = [
        lambda: token_signer(_uri(hsm), Suite.ED25519, pin, make=False),
        lambda: token_signer(_uri(hsm), Suite.ED25519, pin, make=True),
        lambda: destroy(_uri(hsm), pin),
    ]
    for work in works:
        error = _fault(work)
        assert (error.code, error.message) == (ErrorCode.TOKEN_PIN, told)


@pytest.mark.parametrize("pin", [b"1948-other-pin", b"\xff1948-other-pin"])
def test_errors_do_not_show_wrong_pins(hsm: SoftHsm, pin: bytes) -> None:
    """A PIN with a slip in it is as secret as the right one, and is in no part of the error."""
    error = _fault(lambda: token_signer(_uri(hsm), Suite.ED25519, pin, make=True))
    shown = "".join(traceback.format_exception(error))
    assert "other-pin" not in f"{error!r} {error.hint} {error.fields} {shown}"
    assert error.__context__ is None or "other-pin" not in repr(error.__context__)


def test_a_missing_token_is_told(hsm: SoftHsm) -> None:
    """A label or a serial number that no token has is keystore.token."""
    (office,) = list_tokens(hsm.module)
    for change in ({"within": "home"}, {"serial": "0123456789abcdef"}):
        error = _fault(
            lambda change=change: token_signer(  # type: ignore[misc] # a loop's value, kept
                _uri(hsm, **change), Suite.ED25519, PIN, make=True
            )
        )
        assert error.code is ErrorCode.TOKEN
        assert "is not there" in error.message
    assert token_signer(_uri(hsm, serial=office.serial), Suite.ED25519, PIN, make=True).sign(b"x")


def test_a_removed_token_is_told_and_used_again_when_it_is_back(hsm: SoftHsm) -> None:
    """A signer whose token is pulled out fails clearly, and signs again when it is put back."""
    folder = hsm.add("travel")
    signer = token_signer(_uri(hsm, within="travel"), Suite.ED25519, PIN, make=True)
    away = shutil.move(folder, hsm.folder / "away")
    for _ in range(2):
        error = _fault(lambda: signer.sign(b"x"))
        assert error.code is ErrorCode.TOKEN
        assert "'travel' is not there" in error.message
    assert _fault(lambda: destroy(_uri(hsm, within="travel"), PIN)).code is ErrorCode.TOKEN
    shutil.move(away, folder)
    assert suites.verify(Suite.ED25519, signer.public_key, signer.sign(b"x"), b"x")


def test_a_removed_token_does_not_disturb_another(hsm: SoftHsm) -> None:
    """While one token is away, keys in another are used."""
    folder = hsm.add("travel")
    signer = token_signer(_uri(hsm), Suite.ED25519, PIN, make=True)
    shutil.rmtree(folder)
    assert signer.sign(b"x")
    assert [one.label for one in list_tokens(hsm.module)] == ["office"]


def test_a_token_that_is_put_in_later_is_found(hsm: SoftHsm) -> None:
    """A process that runs finds tokens that were not there when it started the module."""
    assert [one.label for one in list_tokens(hsm.module)] == ["office"]
    hsm.add("late")
    assert token_signer(_uri(hsm, within="late"), Suite.ED25519, PIN, make=True).sign(b"x")
    hsm.add("later")
    assert {one.label for one in list_tokens(hsm.module)} == {"office", "late", "later"}


def test_a_signer_survives_the_end_of_its_module(hsm: SoftHsm) -> None:
    """A signer opens sessions anew, so that stopping the module does not end it."""
    signer = token_signer(_uri(hsm), Suite.ED25519, PIN, make=True)
    _end(hsm)
    assert signer.sign(b"x")


def test_a_foreign_login_is_ended(hsm: SoftHsm) -> None:
    """A login that something else in this process left open is no obstacle."""
    signer = token_signer(_uri(hsm), Suite.ED25519, PIN, make=True)
    left = _session(hsm)
    assert signer.sign(b"x")
    with pytest.raises(pkcs11.PKCS11Error):
        left.close()


def test_no_sessions_are_left(hsm: SoftHsm) -> None:
    """Success and failure, wrong PINs included, leave no session open."""
    signer = token_signer(_uri(hsm), Suite.SECP256R1, PIN, make=True)
    signer.sign(b"x")
    assert hsm.sessions() == 0
    works: list[Callable[[], object]] = [
        lambda: token_signer(_uri(hsm), Suite.SECP256R1, b"0000", make=True),
        lambda: token_signer(_uri(hsm, "none"), Suite.SECP256R1, PIN, make=False),
        lambda: token_signer(_uri(hsm), Suite.SECP256K1, PIN, make=True),
        lambda: destroy(_uri(hsm), b"0000"),
    ]
    for work in works:
        _fault(work)
        pkcs11.lib(hsm.module)  # starts the library if it was stopped
        assert hsm.sessions() == 0
    _session(hsm)  # is in the way of the first try; the PIN fails the second
    _fault(works[0])
    pkcs11.lib(hsm.module)
    assert hsm.sessions() == 0
    with _session(hsm):
        assert hsm.sessions() == 1


def test_threads_take_turns(hsm: SoftHsm) -> None:
    """Threads that sign at once do not end each other's logins."""
    signers = [
        token_signer(_uri(hsm, f"key {one}"), Suite.ED25519, PIN, make=True) for one in range(2)
    ]
    done: list[bytes] = []
    threads = [
        threading.Thread(target=lambda one=one: done.extend(one.sign(b"x") for _ in range(50)))
        for one in signers
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 200


@pytest.mark.parametrize("path", ["/nowhere/libtoken.so", "/bin/ls", "/", "/etc/passwd"])
def test_what_is_no_module_is_told(hsm: SoftHsm, path: str) -> None:
    """A module path where there is nothing, or something else, is keystore.token."""
    works: list[Callable[[], object]] = [
        lambda: token_signer(_uri(hsm, module=path), Suite.ED25519, PIN, make=True),
        lambda: destroy(_uri(hsm, module=path), PIN),
        lambda: list_tokens(path),
    ]
    for work in works:
        error = _fault(work)
        assert error.code is ErrorCode.TOKEN
        assert error.message.startswith(f"{path} is no PKCS#11 module that works: ")


def test_a_library_that_is_no_module_is_told() -> None:
    """A library that loads, but speaks no PKCS#11, is keystore.token."""
    library = next(Path(sys.modules["msgspec._core"].__file__ or "").parent.glob("_core*.so"))
    assert "C_GetFunctionList" in _fault(lambda: list_tokens(str(library))).message


def test_module_paths_are_absolute() -> None:
    """The system's search path does not decide which library gets the PIN."""
    assert "must be absolute" in _fault(lambda: list_tokens("libsofthsm2.so")).message


def test_a_module_without_its_configuration_is_told(
    hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that cannot start is keystore.token, and is used when it can."""
    monkeypatch.setenv("SOFTHSM2_CONF", str(hsm.folder / "none.conf"))
    error = _fault(lambda: list_tokens(hsm.module))
    assert error.code is ErrorCode.TOKEN
    assert "is no PKCS#11 module that works" in error.message
    monkeypatch.setenv("SOFTHSM2_CONF", str(hsm.folder / "softhsm2.conf"))
    assert list_tokens(hsm.module)


@pytest.mark.parametrize(
    ("suite", "without"),
    [
        (Suite.ED25519, "CKM_EDDSA"),
        (Suite.ED25519, "CKM_EC_EDWARDS_KEY_PAIR_GEN"),
        (Suite.SECP256R1, "CKM_ECDSA"),
        (Suite.SECP256K1, "CKM_EC_KEY_PAIR_GEN"),
    ],
)
def test_missing_mechanisms_are_told(hsm: SoftHsm, suite: Suite, without: str) -> None:
    """A token that cannot make or use a key of a suite says so before anything is made."""
    hsm.configure(without=without)
    error = _fault(lambda: token_signer(_uri(hsm), suite, PIN, make=True))
    assert error.code is ErrorCode.MECHANISM
    assert error.message == f"token 'office' has no mechanism for {suite.value}"
    with _session(hsm) as session:
        assert list(session.get_objects()) == []


def test_a_mechanism_that_went_is_told(hsm: SoftHsm) -> None:
    """A token that lost the mechanism of a key, as by new settings, says so when it signs."""
    signer = token_signer(_uri(hsm), Suite.ED25519, PIN, make=True)
    _end(hsm)
    hsm.configure(without="CKM_EDDSA")
    assert _fault(lambda: signer.sign(b"x")).code is ErrorCode.MECHANISM


def test_suites_that_no_token_knows_are_refused(hsm: SoftHsm) -> None:
    """A suite that Keystead cannot use in tokens is keystore.mechanism."""
    error = _fault(lambda: token_signer(_uri(hsm), Suite.ED448, PIN, make=True))
    assert error.code is ErrorCode.MECHANISM


def test_tokens_are_listed_with_what_they_can(hsm: SoftHsm) -> None:
    """A list of tokens names each that is set up, and the suites it has mechanisms for."""
    hsm.configure(without="CKM_EDDSA")
    (found,) = list_tokens(hsm.module)
    assert found == TokenInfo(
        "office", found.serial, "SoftHSM project", (Suite.SECP256R1, Suite.SECP256K1)
    )
    assert len(found.serial) == 16


def test_two_tokens_with_one_label_need_a_serial_number(hsm: SoftHsm) -> None:
    """Two tokens called the same are told apart by serial number, and not guessed at."""
    hsm.add("office")
    error = _fault(lambda: token_signer(_uri(hsm), Suite.ED25519, PIN, make=True))
    assert error.code is ErrorCode.TOKEN
    assert "serial number" in error.hint
    keys = {
        token_signer(_uri(hsm, serial=one.serial), Suite.ED25519, PIN, make=True).public_key
        for one in list_tokens(hsm.module)
    }
    assert len(keys) == 2


def test_two_keys_with_one_label_are_refused(hsm: SoftHsm) -> None:
    """Two keys with the label are not guessed at, whatever is to be done with one."""
    signer = token_signer(_uri(hsm), Suite.SECP256R1, PIN, make=True)
    with _session(hsm) as session:
        _make_pair(session, "key")
    works: list[Callable[[], object]] = [
        lambda: token_signer(_uri(hsm), Suite.SECP256R1, PIN, make=False),
        lambda: token_signer(_uri(hsm), Suite.SECP256R1, PIN, make=True),
        lambda: signer.sign(b"x"),
        lambda: destroy(_uri(hsm), PIN),
    ]
    for work in works:
        error = _fault(work)
        assert error.code is ErrorCode.TOKEN
        assert "several keys with the label 'key'" in error.message


@pytest.mark.parametrize("make", [False, True])
def test_a_key_of_another_suite_is_refused(hsm: SoftHsm, make: bool) -> None:  # noqa: FBT001 - a case
    """A label that belongs to a key of another curve is an error, not that key."""
    token_signer(_uri(hsm), Suite.SECP256K1, PIN, make=True)
    for suite in (Suite.SECP256R1, Suite.ED25519):
        error = _fault(lambda suite=suite: token_signer(_uri(hsm), suite, PIN, make=make))  # type: ignore[misc] # as above
        assert error.code is ErrorCode.TOKEN
        assert f"is no {suite.value} key" in error.message


def test_a_key_of_no_curve_is_refused(hsm: SoftHsm) -> None:
    """A label that belongs to a key that has no curve at all is an error like any other."""
    with _session(hsm) as session:
        session.generate_keypair(KeyType.RSA, 1024, label="key", store=True)
    error = _fault(lambda: token_signer(_uri(hsm), Suite.SECP256R1, PIN, make=False))
    assert "is no ECDSA secp256r1 key" in error.message


def test_two_public_halves_are_refused(hsm: SoftHsm) -> None:
    """A second public key with the label is not guessed at."""
    token_signer(_uri(hsm), Suite.SECP256R1, PIN, make=True)
    with _session(hsm) as session:
        _, private = _make_pair(session, "key")
        private.destroy()
    error = _fault(lambda: token_signer(_uri(hsm), Suite.SECP256R1, PIN, make=False))
    assert "several keys with the label 'key'" in error.message


@pytest.mark.parametrize(
    "attributes", [{"EXTRACTABLE": True}, {"EXTRACTABLE": False, "SENSITIVE": False}]
)
def test_keys_that_could_be_read_out_are_refused(hsm: SoftHsm, attributes: dict[str, bool]) -> None:
    """A key that somebody else made so that the token would give it out is not used."""
    with _session(hsm) as session:
        _make_pair(session, "key", **attributes)
    error = _fault(lambda: token_signer(_uri(hsm), Suite.SECP256R1, PIN, make=True))
    assert error.code is ErrorCode.TOKEN
    assert "could be read out" in error.message


def test_keys_of_others_that_are_safe_are_used(hsm: SoftHsm) -> None:
    """A key that another tool made, and cannot be read out, signs; one that may not sign is told."""
    with _session(hsm) as session:
        _make_pair(session, "key", EXTRACTABLE=False)
        _make_pair(session, "mute", EXTRACTABLE=False, SIGN=False)
    signer = token_signer(_uri(hsm), Suite.SECP256R1, PIN, make=False)
    assert suites.verify(Suite.SECP256R1, signer.public_key, signer.sign(b"x"), b"x")
    error = _fault(lambda: token_signer(_uri(hsm, "mute"), Suite.SECP256R1, PIN, make=False))
    assert "may not sign" in error.message


def test_keys_that_ask_for_the_pin_each_time_are_used(hsm: SoftHsm) -> None:
    """A key that wants the PIN before every signature gets it."""
    with _session(hsm) as session:
        _make_pair(session, "key", EXTRACTABLE=False, ALWAYS_AUTHENTICATE=True)
    signer = token_signer(_uri(hsm), Suite.SECP256R1, PIN, make=False)
    assert suites.verify(Suite.SECP256R1, signer.public_key, signer.sign(b"x"), b"x")


def _swap_public_halves(hsm: SoftHsm, *labels: str) -> None:
    with _session(hsm) as session:
        halves = [
            next(
                session.get_objects(
                    {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: label}
                )
            )
            for label in labels
        ]
        for half, label in zip(halves, reversed(labels), strict=True):
            half[Attribute.LABEL] = label


@pytest.mark.parametrize("suite", SUITES)
def test_signatures_that_do_not_verify_are_thrown_away(hsm: SoftHsm, suite: Suite) -> None:
    """A token whose signature does not fit its public key gives none, and no new signer."""
    token_signer(_uri(hsm, "one"), suite, PIN, make=True)
    token_signer(_uri(hsm, "two"), suite, PIN, make=True)
    _swap_public_halves(hsm, "one", "two")
    signer = token_signer(_uri(hsm, "one"), suite, PIN, make=False)
    works: list[Callable[[], object]] = [
        lambda: signer.sign(b"x"),
        lambda: token_signer(_uri(hsm, "one"), suite, PIN, make=True),
    ]
    for work in works:
        error = _fault(work)
        assert error.code is ErrorCode.TOKEN
        assert "does not verify" in error.message


def _remove_half(hsm: SoftHsm, kind: ObjectClass) -> None:
    with _session(hsm) as session:
        (half,) = session.get_objects({Attribute.CLASS: kind, Attribute.LABEL: "key"})
        half.destroy()


def test_half_a_pair_is_replaced(hsm: SoftHsm) -> None:
    """A public half that was left of a pair is removed when the pair is made again."""
    first = token_signer(_uri(hsm), Suite.ED25519, PIN, make=True)
    _remove_half(hsm, ObjectClass.PRIVATE_KEY)
    again = token_signer(_uri(hsm), Suite.ED25519, PIN, make=True)
    assert again.public_key != first.public_key
    _remove_half(hsm, ObjectClass.PRIVATE_KEY)
    destroy(_uri(hsm), PIN)
    with _session(hsm) as session:
        assert list(session.get_objects()) == []


def test_a_public_key_of_others_is_not_removed(hsm: SoftHsm) -> None:
    """A public key that Keystead did not make keeps its label, and no pair is made beside it."""
    with _session(hsm) as session:
        _, private = _make_pair(session, "key")
        private.destroy()
    error = _fault(lambda: token_signer(_uri(hsm), Suite.SECP256R1, PIN, make=True))
    assert "several keys with the label" in error.message
    with _session(hsm) as session:
        assert len(list(session.get_objects())) == 1


def test_a_key_without_its_public_half_is_told(hsm: SoftHsm) -> None:
    """A private key whose public half is gone cannot be used, and is not replaced."""
    token_signer(_uri(hsm), Suite.ED25519, PIN, make=True)
    _remove_half(hsm, ObjectClass.PUBLIC_KEY)
    error = _fault(lambda: token_signer(_uri(hsm), Suite.ED25519, PIN, make=True))
    assert error.code is ErrorCode.TOKEN
    assert "has no public half" in error.message


def _replace_point(hsm: SoftHsm, changed: Callable[[bytes], bytes]) -> None:
    """Replace the public half of `key` by one that tells another EC_POINT."""
    kind = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: "key"}
    with _session(hsm) as session:
        (half,) = session.get_objects(kind)
        names = (Attribute.KEY_TYPE, Attribute.EC_PARAMS, Attribute.EC_POINT, Attribute.TOKEN)
        told: dict[Attribute, Any] = kind | {name: half[name] for name in names}
        half.destroy()
        told[Attribute.EC_POINT] = changed(told[Attribute.EC_POINT])
        session.create_object(told)


@pytest.mark.parametrize("suite", SUITES)
def test_points_without_der_are_understood(hsm: SoftHsm, suite: Suite) -> None:
    """The public key is the same when a token leaves the DER around its point away."""
    made = token_signer(_uri(hsm), suite, PIN, make=True)
    _replace_point(hsm, lambda point: point[2:])
    assert token_signer(_uri(hsm), suite, PIN, make=False).public_key == made.public_key


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("cut", [-1, 1])
def test_points_of_no_curve_are_refused(hsm: SoftHsm, suite: Suite, cut: int) -> None:
    """A public half that is too short or too long for its curve is keystore.token."""
    token_signer(_uri(hsm), suite, PIN, make=True)
    _replace_point(hsm, lambda point: point[:cut] if cut < 0 else point + bytes(cut))
    error = _fault(lambda: token_signer(_uri(hsm), suite, PIN, make=False))
    assert error.code is ErrorCode.TOKEN
    assert "no point of its curve" in error.message


@pytest.mark.parametrize("suite", SUITES[1:])
def test_points_beside_their_curve_are_refused(hsm: SoftHsm, suite: Suite) -> None:
    """A public half of the right size that is not on its curve is keystore.token."""
    token_signer(_uri(hsm), suite, PIN, make=True)
    _replace_point(hsm, lambda point: point[:-1] + bytes([point[-1] ^ 1]))
    error = _fault(lambda: token_signer(_uri(hsm), suite, PIN, make=False))
    assert "no point of its curve" in error.message


def test_without_the_library_the_extra_is_named(
    hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where python-pkcs11 is not installed, the hint is the command that installs it."""
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    works: list[Callable[[], object]] = [
        lambda: token_signer(_uri(hsm), Suite.ED25519, PIN, make=True),
        lambda: destroy(_uri(hsm), PIN),
        lambda: list_tokens(hsm.module),
    ]
    for work in works:
        error = _fault(work)
        assert error.code is ErrorCode.TOKEN
        assert "pip install 'keystead[hsm]'" in error.hint
    monkeypatch.undo()


class _Failing:
    """Stands in for a module whose only token, `office`, fails as no SoftHSM does.

    Args:
        hsm: where the token is.
        errors: what one login after another answers, until they work.
        making: what the token answers, once, when it should make a key.
        made: whether it made it all the same.
    """

    label = "office"
    serial = b"1"
    flags = pkcs11.TokenFlag.TOKEN_INITIALIZED

    def __init__(
        self, hsm: SoftHsm, *errors: Exception, making: Exception | None = None, made: bool = False
    ) -> None:
        self.opened = 0
        self.making = making
        self.made = made
        self._errors = list(errors)
        self._library = pkcs11.lib(hsm.module)

    def get_slots(self, *, token_present: bool) -> list["_Failing"]:
        assert token_present
        return [self]

    def get_token(self) -> "_Failing":
        return self

    def open(self, *, rw: bool, user_pin: str) -> "pkcs11.Session | _Session":
        self.opened += 1
        if self._errors:
            raise copy.copy(self._errors.pop(0))  # what is raised keeps the frames it went through
        self._library.initialize()
        session = self._library.get_token(token_label=self.label).open(rw=rw, user_pin=user_pin)
        return _Session(session, self) if self.making else session

    def finalize(self) -> None:
        self._library.finalize()


class _Session:
    """Stands in for a session in which making a key fails."""

    def __init__(self, session: pkcs11.Session, token: _Failing) -> None:
        self.token = session.token
        self.get_objects = session.get_objects
        self._session = session
        self._failing = token

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._session.close()

    def create_domain_parameters(
        self, kind: KeyType, attributes: dict[Attribute, bytes], *, local: bool
    ) -> Self:
        self._parameters = self._session.create_domain_parameters(kind, attributes, local=local)
        return self

    def generate_keypair(self, **given: Any) -> None:  # noqa: ANN401 - passed on
        error, self._failing.making = self._failing.making, None
        if self._failing.made:
            self._parameters.generate_keypair(**given)
        assert error is not None
        raise copy.copy(error)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (pkcs11.PinLocked(), ErrorCode.TOKEN_PIN, "token 'office' has locked its PIN"),
        (pkcs11.PinExpired(), ErrorCode.TOKEN_PIN, "the PIN of token 'office' expired"),
        (pkcs11.PinLenRange(), ErrorCode.TOKEN_PIN, "token 'office' refused the PIN"),
        (pkcs11.UserPinNotInitialized(), ErrorCode.TOKEN_PIN, "token 'office' has no PIN yet"),
        (
            pkcs11.PKCS11Error("Unmapped error code 0x80000001"),
            ErrorCode.TOKEN,
            "token 'office' failed or was removed: Unmapped error code 0x80000001",
        ),
        (
            pkcs11.DeviceMemory(),
            ErrorCode.TOKEN,
            "token 'office' failed or was removed: DeviceMemory",
        ),
    ],
)
def test_failed_logins_are_told_and_not_repeated(
    hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch, error: Exception, code: ErrorCode, told: str
) -> None:
    """A failure that may be of the PIN costs one of the token's tries, never two."""
    module = _Failing(hsm, error)
    monkeypatch.setattr(pkcs11, "lib", lambda _: module)
    fault = _fault(lambda: token_signer(_uri(hsm), Suite.ED25519, PIN, make=True))
    assert (fault.code, fault.message) == (code, told)
    assert module.opened == 1


@pytest.mark.parametrize(
    "error",
    [
        pkcs11.DeviceError(),
        pkcs11.DeviceRemoved(),
        pkcs11.FunctionFailed(),
        pkcs11.GeneralError(),
        pkcs11.KeyHandleInvalid(),
        pkcs11.ObjectHandleInvalid(),
        pkcs11.SessionClosed(),
        pkcs11.SessionCount(),
        pkcs11.SessionHandleInvalid(),
        pkcs11.SlotIDInvalid(),
        pkcs11.TokenNotPresent(),
        pkcs11.TokenNotRecognised(),
        pkcs11.UserNotLoggedIn(),
    ],
    ids=repr,
)
def test_a_token_that_was_away_is_tried_once_more(
    hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """After an error of a removed token the module is started anew, and once only."""
    signer = token_signer(_uri(hsm), Suite.ED25519, PIN, make=True)
    module = _Failing(hsm, error)
    monkeypatch.setattr(pkcs11, "lib", lambda _: module)
    assert suites.verify(Suite.ED25519, signer.public_key, signer.sign(b"x"), b"x")
    assert module.opened == 2
    module = _Failing(hsm, *[error] * 3)
    assert _fault(lambda: signer.sign(b"x")).code is ErrorCode.TOKEN
    assert module.opened == 2


@pytest.mark.parametrize(
    "error", [pkcs11.PKCS11Error("Unmapped error code 0x140"), pkcs11.DomainParamsInvalid()]
)
def test_a_missing_curve_is_told(
    hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A token with the mechanism, but not for the curve, is keystore.mechanism."""
    module = _Failing(hsm, making=error)
    monkeypatch.setattr(pkcs11, "lib", lambda _: module)
    fault = _fault(lambda: token_signer(_uri(hsm), Suite.SECP256K1, PIN, make=True))
    assert fault.code is ErrorCode.MECHANISM
    assert fault.message == "token 'office' has no mechanism for ECDSA secp256k1"


def test_other_failures_to_make_a_key_are_told(
    hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that is full says so, and is not called unable."""
    module = _Failing(hsm, making=pkcs11.DeviceMemory())
    monkeypatch.setattr(pkcs11, "lib", lambda _: module)
    fault = _fault(lambda: token_signer(_uri(hsm), Suite.SECP256K1, PIN, make=True))
    assert fault.code is ErrorCode.TOKEN
    assert fault.message == "token 'office' failed or was removed: DeviceMemory"


def test_a_key_that_was_made_though_the_token_failed_is_used(
    hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a token made a key and left before it said so, no second one is made."""
    module = _Failing(hsm, making=pkcs11.DeviceRemoved(), made=True)
    with monkeypatch.context() as patched:
        patched.setattr(pkcs11, "lib", lambda _: module)
        assert token_signer(_uri(hsm), Suite.ED25519, PIN, make=True).sign(b"x")
    with _session(hsm) as session:
        assert len(list(session.get_objects())) == 2


def test_a_slot_that_fails_does_not_disturb_others(
    hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card in another reader that the module cannot read is no obstacle."""
    broken = _Failing(hsm)

    def fail() -> _Failing:
        raise pkcs11.TokenNotRecognised

    monkeypatch.setattr(broken, "get_token", fail)
    module = _Failing(hsm)
    monkeypatch.setattr(module, "get_slots", lambda *, token_present: [broken, module])  # noqa: ARG005 - as it is called
    monkeypatch.setattr(pkcs11, "lib", lambda _: module)
    assert token_signer(_uri(hsm), Suite.ED25519, PIN, make=True).sign(b"x")


def test_a_module_that_fails_to_list_is_told(hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that cannot say which tokens there are is keystore.token."""
    module = _Failing(hsm)

    def fail(*, token_present: bool) -> list[_Failing]:
        raise pkcs11.DeviceError(token_present)

    monkeypatch.setattr(module, "get_slots", fail)
    monkeypatch.setattr(pkcs11, "lib", lambda _: module)
    fault = _fault(lambda: list_tokens(hsm.module))
    assert fault.code is ErrorCode.TOKEN
    assert fault.message.startswith(f"{hsm.module} failed: ")
