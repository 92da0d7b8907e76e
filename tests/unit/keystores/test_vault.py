"""The vault: keys are used as their own records allow, and never given out."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import cbor2
import msgspec
import pytest

from keystead import suites
from keystead.cesr.keys import Aid, parse_key
from keystead.custody.catalogue import ALLOWED, CATALOGUE, KeyType, Use
from keystead.custody.records import KeyRecord
from keystead.custody.states import State
from keystead.custody.uri import DerivedUri
from keystead.errors import DecodeError, ErrorCode, KeysteadError, KeystoreError
from keystead.keri import build
from keystead.keri.build import Keys
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import KeyState
from keystead.keri.seals import DigestSeal
from keystead.keystores.derivation import branch_of, encode_branch, key_seed
from keystead.keystores.vault import LocalVault
from keystead.owner.identifiers import create
from keystead.owner.plans import Creation, Place, expose
from keystead.ports.keys import SECRET, KeySource, KeyUse, Mark, Plain, Sealed
from keystead.suites import Suite
from keystead.testing.authoring import Author
from support.wallets import LocalWallet, make_wallet

STATEMENT = b"KEYSTEAD-SIGNATURE-1\nsomething\n"


@pytest.fixture(name="wallet")
def _wallet(tmp_path: Path) -> LocalWallet:
    """A wallet with the identifiers alice, bob and carol; carol has P-256 keys."""
    wallet = make_wallet(tmp_path)
    create(wallet, "alice", Creation())
    create(wallet, "bob", Creation(keys=2))
    create(wallet, "carol", Creation(suite=Suite.SECP256R1))
    return wallet


def _state_of(wallet: LocalWallet, name: str) -> KeyState:
    state = wallet.events.key_state(wallet.identifier(name).aid)
    assert state is not None
    return state


def _current(wallet: LocalWallet, name: str) -> list[KeyRecord]:
    keys = _state_of(wallet, name).establishment.signing_keys
    found = [wallet.key(build.commitment(key)) for key in keys]
    return [one for one in found if one is not None]


def _next(wallet: LocalWallet, name: str) -> tuple[Place, ...]:
    return expose(wallet, _state_of(wallet, name))[0]


def _interaction(wallet: LocalWallet, name: str, content: str = "x") -> AnyKeyEvent:
    return build.interact(_state_of(wallet, name), [DigestSeal(content)])


def _rotation(wallet: LocalWallet, name: str) -> AnyKeyEvent:
    keys = [parse_key(one.key.public_key) for one in _next(wallet, name)]
    following = Author(f"after {name}", keys=len(keys))
    following.incept()
    digests = [build.commitment(one.key) for one in following.pairs(1)]
    return build.rotate(_state_of(wallet, name), Keys(keys, f"{len(keys):x}", digests, "1"))


def _sign(wallet: LocalWallet, event: AnyKeyEvent, keys: Sequence[KeyUse]) -> list[bytes]:
    count, head = wallet.store.audit_head()
    return wallet.vault.sign_event(event.raw, keys, audit_count=count, audit_head=head)


def _as(wallet: LocalWallet, key: KeyRecord, **changes: object) -> KeyUse:
    """Return a key whose record says something else, sealed as the wallet would."""
    changed = msgspec.structs.replace(key, **changes)
    plain = Plain("key", key.id, 99, msgspec.json.encode(changed))
    return KeyUse(Sealed("key", key.id, 99, *wallet.vault.seal([plain])), wallet.secret(key))


def _code(work: object, *given: object) -> ErrorCode:
    assert callable(work)
    with pytest.raises(KeysteadError) as caught:
        work(*given)
    return caught.value.code


def test_an_interaction_is_signed_by_current_keys(wallet: LocalWallet) -> None:
    """All keys that are in force sign, in the order in which they are given."""
    keys, event = _current(wallet, "bob"), _interaction(wallet, "bob")
    signatures = _sign(wallet, event, wallet.use(keys))
    for key, signature in zip(keys, signatures, strict=True):
        public = parse_key(key.public_key)
        assert suites.verify(public.suite, public.raw, signature, event.raw)


def test_a_rotation_is_signed_by_the_keys_that_it_reveals(wallet: LocalWallet) -> None:
    """Keys that wait for their rotation sign it."""
    event = _rotation(wallet, "carol")
    keys = [one.key for one in _next(wallet, "carol")]
    (signature,) = _sign(wallet, event, wallet.use(keys))
    public = parse_key(keys[0].public_key)
    assert suites.verify(public.suite, public.raw, signature, event.raw)


def _expected(kind: KeyType, state: State, use: Use) -> ErrorCode | None:
    """Return what the catalogue says to a use."""
    if use not in CATALOGUE[kind].uses:
        return ErrorCode.ROLE
    return None if use in ALLOWED[state] else ErrorCode.LIFE_STATE


@pytest.mark.parametrize("kind", KeyType)
def test_kind_and_state_are_checked_at_each_use(wallet: LocalWallet, kind: KeyType) -> None:
    """A key signs exactly what the catalogue allows to its kind in its state."""
    interaction, rotation = _interaction(wallet, "alice"), _rotation(wallet, "carol")
    (alice,), (carol,) = _current(wallet, "alice"), _next(wallet, "carol")
    for state, use in product(State, (Use.INTERACT, Use.ESTABLISH, Use.STATE)):
        key = _as(wallet, carol.key if use is Use.ESTABLISH else alice, type=kind, state=state)
        got = None
        try:
            if use is Use.STATE:
                wallet.vault.sign_statement(STATEMENT, [key])
            else:
                _sign(wallet, interaction if use is Use.INTERACT else rotation, [key])
        except KeystoreError as error:
            got = error.code
        assert got == _expected(kind, state, use), (state, use)


def test_a_key_of_another_identifier_signs_nothing(wallet: LocalWallet) -> None:
    """Events of one identifier are not signed by keys of another, nor by keys of none."""
    (bob, _), (alice,) = _current(wallet, "bob"), _current(wallet, "alice")
    event = _interaction(wallet, "alice")
    assert _code(_sign, wallet, event, wallet.use([bob])) is ErrorCode.ROLE
    assert _code(_sign, wallet, event, wallet.use([alice, bob])) is ErrorCode.ROLE
    assert _code(_sign, wallet, event, [_as(wallet, alice, identifier="")]) is ErrorCode.ROLE
    assert wallet.vault.marks([event.aid]) == wallet.vault.marks([_state_of(wallet, "alice").aid])


def test_keys_that_an_event_does_not_list_do_not_sign_it(wallet: LocalWallet) -> None:
    """A rotation is not signed by the keys that it replaces."""
    event = _rotation(wallet, "alice")
    assert _code(_sign, wallet, event, wallet.use(_current(wallet, "alice"))) is ErrorCode.ROLE


def test_a_reserve_key_signs_no_interaction(wallet: LocalWallet) -> None:
    """A reserve key recovers, and does nothing else, in whatever state it is said to be."""
    (alice,) = _current(wallet, "alice")
    for state in State:
        key = _as(wallet, alice, type=KeyType.RESERVE, state=state)
        assert _code(_sign, wallet, _interaction(wallet, "alice"), [key]) is ErrorCode.ROLE


def test_a_refused_key_leaves_no_mark(wallet: LocalWallet) -> None:
    """Where one key may not sign, nothing is signed, and another event can be."""
    keys = _current(wallet, "bob")
    before = wallet.vault.marks([_state_of(wallet, "bob").aid])
    refused = [wallet.use(keys)[0], _as(wallet, keys[1], state=State.SUSPENDED)]
    code = _code(_sign, wallet, _interaction(wallet, "bob", "one"), refused)
    assert code is ErrorCode.LIFE_STATE
    assert wallet.vault.marks([_state_of(wallet, "bob").aid]) == before
    _sign(wallet, _interaction(wallet, "bob", "two"), wallet.use(keys))


def test_no_second_event_for_a_place(wallet: LocalWallet) -> None:
    """A second event is refused; the first can be signed again."""
    keys = wallet.use(_current(wallet, "alice"))
    event = _interaction(wallet, "alice", "one")
    first = _sign(wallet, event, keys)
    assert _code(_sign, wallet, _interaction(wallet, "alice", "two"), keys) is (
        ErrorCode.SECOND_EVENT
    )
    assert _sign(wallet, event, keys) == first
    (mark,) = wallet.vault.marks([event.aid])
    assert mark is not None
    assert (mark.sn, mark.said, mark.raw) == (1, event.said, event.raw)


def test_without_marks_nothing_is_signed(wallet: LocalWallet, tmp_path: Path) -> None:
    """A vault on a machine that does not know the wallet signs no event, but statements."""
    elsewhere = LocalVault(wallet.vault.wallet, wallet.data_key, tmp_path / "elsewhere")
    assert not elsewhere.known_here()
    assert elsewhere.latest_mark() is None
    event = _interaction(wallet, "alice")
    assert elsewhere.marks([event.aid]) == [None]
    keys = wallet.use(_current(wallet, "alice"))
    with pytest.raises(KeystoreError) as caught:
        elsewhere.sign_event(event.raw, keys, audit_count=0, audit_head=b"")
    assert caught.value.code is ErrorCode.BEHIND
    assert elsewhere.sign_statement(STATEMENT, keys)
    elsewhere.adopt()
    elsewhere.set_mark(Mark(event.aid, 0, event.said, b"raw", 0, b""))
    assert elsewhere.sign_event(event.raw, keys, audit_count=0, audit_head=b"")
    assert elsewhere.known_here()


ROUTED = build.routed("rpy", {"dt": "2026-01-01T00:00:00.000000+00:00", "r": "/x", "a": {}})[0]


def test_statements_are_signed(wallet: LocalWallet) -> None:
    """A statement of this program and a routed message are signed by a key in force."""
    (alice,) = _current(wallet, "alice")
    public = parse_key(alice.public_key)
    for payload in (STATEMENT, ROUTED):
        (signature,) = wallet.vault.sign_statement(payload, wallet.use([alice]))
        assert suites.verify(public.suite, public.raw, signature, payload)


def _disguised(event: AnyKeyEvent) -> dict[str, bytes]:
    """Return an event as somebody could try to have it signed as a statement."""
    raw = event.raw
    body = msgspec.json.decode(raw)
    spaced = raw.replace(b'":', b'": ', 1)
    return {
        "the event": raw,
        "a space at the start": b" " + raw,
        "a line feed at the start": b"\n" + raw,
        "a space inside": b"{ " + raw[1:],
        "a space behind the first label": spaced,
        "indented": msgspec.json.format(raw, indent=2),
        "other order": msgspec.json.encode({"t": body["t"], **body}),
        "CBOR": cbor2.dumps({**body, "v": body["v"].replace("JSON", "CBOR")}),
        "MessagePack": msgspec.msgpack.encode({**body, "v": body["v"].replace("JSON", "MGPK")}),
        "a second type": raw.replace(b'"t":"ixn"', b'"t":"rpy","t":"ixn"'),
        "a first type": raw.replace(b'"t":"ixn"', b'"t":"ixn","t":"rpy"'),
        "another type at the end": raw[:-1] + b',"t":"rpy"}',
        "an escaped type": raw.replace(b'"t":"ixn"', b'"\\u0074":"rpy","t":"ixn"'),
        "an escaped version": raw.replace(b"KERI", b"\\u004bERI"),
        "with attachments": raw + b"-VAA",
        "version 2": raw.replace(b"KERI10JSON", b"KERICAAJSON"),
        "native version 2": b"-FAF0OKERICAACAAXicp" + raw,
        "a receipt": raw.replace(b'"t":"ixn"', b'"t":"rct"'),
        "a type that is a list": raw.replace(b'"t":"ixn"', b'"t":["rpy"]'),
        "nothing": b"",
        "any text": b"pay 100 to bob",
        "a challenge": b"KEYSTEAD-POSSESSION-1\n" + bytes(32),
        "a name like ours": b"KEYSTEAD_SIGNATURE-1\n",
    }


DISGUISES = sorted(_disguised(Author("anybody").incept().event))


@pytest.mark.parametrize("disguise", DISGUISES)
def test_no_event_is_signed_as_a_statement(wallet: LocalWallet, disguise: str) -> None:
    """An event in whatever disguise, and what nobody knows, gets no signature."""
    payload = _disguised(_interaction(wallet, "alice"))[disguise]
    keys = wallet.use(_current(wallet, "alice"))
    with pytest.raises((KeystoreError, DecodeError)) as caught:
        wallet.vault.sign_statement(payload, keys)
    assert caught.value.code in (ErrorCode.ROLE, ErrorCode.NOT_CANONICAL, ErrorCode.BODY)


@pytest.mark.parametrize("disguise", [one for one in DISGUISES if one != "the event"])
def test_no_other_form_is_signed_as_an_event(wallet: LocalWallet, disguise: str) -> None:
    """Only the one form of an event in JSON is signed as one."""
    event = _interaction(wallet, "alice")
    payload = _disguised(event)[disguise]
    keys = wallet.use(_current(wallet, "alice"))
    with pytest.raises(KeysteadError):
        wallet.vault.sign_event(payload, keys, audit_count=0, audit_head=b"")
    (mark,) = wallet.vault.marks([event.aid])
    assert mark is not None
    assert mark.sn == 0


def test_a_routed_message_is_no_event(wallet: LocalWallet) -> None:
    """A statement is not signed as an event either."""
    keys = wallet.use(_current(wallet, "alice"))
    with pytest.raises(DecodeError):
        wallet.vault.sign_event(ROUTED, keys, audit_count=0, audit_head=b"")


def test_secrets_are_never_opened(wallet: LocalWallet) -> None:
    """What holds a secret does not come out, under its own name or another."""
    secret = wallet.records.sealed(SECRET, "master.0")
    assert secret is not None
    assert _code(wallet.vault.open, [secret]) is ErrorCode.ROLE
    for kind in ("key", "state", "secret ", ""):
        lied = msgspec.structs.replace(secret, kind=kind)
        assert _code(wallet.vault.open, [lied]) is ErrorCode.TAMPERED
    assert wallet.vault.check([secret]) == [True]


def test_branches_stay_secret(wallet: LocalWallet) -> None:
    """The branches of a seed are sealed as secrets, whatever kind was asked for."""
    master = wallet.records.sealed(SECRET, "master.0")
    assert master is not None
    asked = [Plain("notes", "branch.0.0", 5, b""), Plain(SECRET, "branch.0.7", 6, b"")]
    sealed = wallet.vault.branch(master, [0, 7], asked)
    for name, data in zip(asked, sealed, strict=True):
        with pytest.raises(KeystoreError) as caught:
            wallet.vault.open([Sealed("notes", name.id, name.generation, data)])
        assert caught.value.code is ErrorCode.TAMPERED
        assert wallet.vault.check([Sealed(SECRET, name.id, name.generation, data)]) == [True]


@pytest.mark.parametrize(
    "names", [["branch.0.1"], ["branch.1.0"], ["master.0"], [], ["branch.0.0", "branch.0.0"]]
)
def test_branches_have_their_names(wallet: LocalWallet, names: list[str]) -> None:
    """A branch cannot be put in the place of another one, or of the seed."""
    master = wallet.records.sealed(SECRET, "master.0")
    assert master is not None
    plain = [Plain(SECRET, name, 5, b"") for name in names]
    assert _code(wallet.vault.branch, master, [0], plain) is ErrorCode.ROLE


def _branch(wallet: LocalWallet) -> Sealed:
    data = encode_branch(branch_of(b"s" * 32, 0))
    name = Plain(SECRET, "branch.0.0", 5, data)
    return Sealed(SECRET, name.id, name.generation, *wallet.vault.seal([name]))


def test_an_erased_key_cannot_be_used(wallet: LocalWallet) -> None:
    """After an erasure the key is gone and those behind it are the same."""
    branch = _branch(wallet)
    after = Sealed(
        SECRET, branch.id, 6, wallet.vault.erase(branch, "derived:0/0/sign.0/1", generation=6)
    )
    for index, gone in ((0, True), (1, True), (2, False)):
        uri = f"derived:0/0/sign.0/{index}"
        before = wallet.vault.public_keys([KeySource(uri, Suite.ED25519, branch)])
        source = KeySource(uri, Suite.ED25519, after)
        if gone:
            assert _code(wallet.vault.public_keys, [source]) is ErrorCode.GONE
        else:
            assert wallet.vault.public_keys([source]) == before


@pytest.mark.parametrize(
    "uri",
    [
        "derived:0/0/sign.0/0",
        "imported:key",
        "pkcs11:token=t;object=o;type=private?module-path=/nothing.so",
    ],
)
def test_no_key_is_erased_from_what_holds_more(wallet: LocalWallet, uri: str) -> None:
    """A master seed is no branch and no PIN: nothing is erased from it."""
    master = wallet.records.sealed(SECRET, "master.0")
    assert master is not None
    assert _code(lambda: wallet.vault.erase(master, uri, generation=9)) is ErrorCode.ROLE


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("derived:1/0/sign.0/0", ErrorCode.ROLE),
        ("imported:key", ErrorCode.ROLE),
        ("pkcs11:token=t;object=o;type=private?module-path=/nothing.so", ErrorCode.ROLE),
        ("file:///etc/passwd", ErrorCode.ARGUMENT),
    ],
)
def test_a_seed_serves_its_own_keys_only(wallet: LocalWallet, uri: str, code: ErrorCode) -> None:
    """A seed is not used as another secret: no module of a token gets it for a PIN."""
    source = KeySource(uri, Suite.ED25519, wallet.records.sealed(SECRET, "master.0"))
    assert _code(wallet.vault.public_keys, [source]) is code
    assert _code(wallet.vault.prove_possession, source, b"k" * 32) is code


def test_without_its_secret_a_key_is_gone(wallet: LocalWallet) -> None:
    """A key is not used when what it is made from is missing, or is no secret."""
    (alice,) = _current(wallet, "alice")
    (use,) = wallet.use([alice])
    bare = KeyUse(use.record)
    assert _code(wallet.vault.sign_statement, STATEMENT, [bare]) is ErrorCode.GONE
    swapped = KeyUse(use.record, use.record)
    assert _code(wallet.vault.sign_statement, STATEMENT, [swapped]) is ErrorCode.GONE
    erased = _as(wallet, alice, uri="")
    assert _code(wallet.vault.sign_statement, STATEMENT, [erased]) is ErrorCode.GONE


def test_only_records_of_keys_are_keys(wallet: LocalWallet) -> None:
    """A record of another kind, or one that was rolled back, is not taken for a key."""
    (alice,) = _current(wallet, "alice")
    (use,) = wallet.use([alice])
    state = wallet.records.sealed("state", "wallet")
    assert state is not None
    other = KeyUse(state, use.secret)
    assert _code(wallet.vault.sign_statement, STATEMENT, [other]) is ErrorCode.ROLE
    older = KeyUse(msgspec.structs.replace(use.record, generation=1), use.secret)
    assert _code(wallet.vault.sign_statement, STATEMENT, [older]) is ErrorCode.TAMPERED


@pytest.mark.parametrize("suite", [Suite.ED25519, Suite.SECP256R1, Suite.SECP256K1])
def test_possession_is_proven(wallet: LocalWallet, suite: Suite) -> None:
    """An imported key must belong to its public half."""
    seed = key_seed("master.0", b"s" * 32, _uri(), suite)
    name = Plain(SECRET, "imported.mine", 3, seed)
    source = KeySource(
        "imported:mine", suite, Sealed(SECRET, name.id, 3, *wallet.vault.seal([name]))
    )
    public = suites.public_key(suite, seed)
    wallet.vault.prove_possession(source, public)
    assert wallet.vault.public_keys([source]) == [public]
    other = suites.public_key(suite, key_seed("master.0", b"t" * 32, _uri(), suite))
    assert _code(wallet.vault.prove_possession, source, other) is ErrorCode.POSSESSION


def _uri() -> DerivedUri:
    return DerivedUri(0, 0, "sign", 0, 0)


@pytest.mark.parametrize("seed", [b"", b"short", b"\0" * 32, b"\xff" * 32])
def test_what_is_no_private_key_possesses_nothing(wallet: LocalWallet, seed: bytes) -> None:
    """Bytes that no private key of the curve has are refused like a wrong key."""
    name = Plain(SECRET, "imported.mine", 3, seed)
    sealed = Sealed(SECRET, name.id, 3, *wallet.vault.seal([name]))
    source = KeySource("imported:mine", Suite.SECP256R1, sealed)
    assert _code(wallet.vault.prove_possession, source, b"\2" * 33) is ErrorCode.POSSESSION


def test_new_seeds_are_random_and_secret(wallet: LocalWallet) -> None:
    """Each new seed is another one, and opens for nobody."""
    sealed = [Sealed(SECRET, "master.9", 1, wallet.vault.new_seed("master.9", 1)) for _ in "ab"]
    uris = [KeySource("derived:9/0/sign.0/0", Suite.ED25519, one) for one in sealed]
    assert len(set(wallet.vault.public_keys(uris))) == 2
    assert _code(wallet.vault.open, sealed) is ErrorCode.ROLE


def test_tags_and_marks_are_those_of_the_wallet(wallet: LocalWallet) -> None:
    """What the vault tells of a wallet is that of its data key and its folder."""
    again = LocalVault(wallet.vault.wallet, bytearray(wallet.data_key), wallet.folder / "state")
    assert again.tag("identifier", "alice") == wallet.vault.tag("identifier", "alice")
    assert again.latest_mark() == wallet.vault.latest_mark()
    aids = [Aid(_state_of(wallet, name).aid) for name in ("alice", "bob")]
    assert again.marks(aids) == wallet.vault.marks(aids)
