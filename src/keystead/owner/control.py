"""Whether the private keys that the logs ask for are here, and are the right ones."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum

import msgspec

from keystead.cesr.keys import Aid, Digest, parse_key
from keystead.custody.catalogue import KeyType
from keystead.custody.records import KeyRecord
from keystead.custody.states import GONE, SUSPECT, State
from keystead.custody.uri import DerivedUri, ImportedUri, KeyUri, TokenUri, parse_uri
from keystead.errors import ErrorCode, KeystoreError, StoreError
from keystead.keri import build
from keystead.keri.events import EstablishmentEvent
from keystead.keri.keystate import KeyState
from keystead.keri.thresholds import Threshold
from keystead.owner.compromises import compromises
from keystead.owner.examination import Progress, in_parts
from keystead.owner.findings import Finding, Kind
from keystead.owner.notices import past_keys
from keystead.owner.wallet import IdentifierRecord, Wallet, parse_event
from keystead.ports.keys import KeySource, Sealed
from keystead.suites import Suite

# Kinds of keys that are secrets of the wallet, under their own names.
_SECRETS = frozenset({KeyType.MASTER_SEED, KeyType.BRANCH_SEED, KeyType.TOKEN_PIN})
_AT_ONCE = 500  # keys that the vault derives at one time
_UNAVAILABLE = frozenset({ErrorCode.TOKEN, ErrorCode.TOKEN_PIN, ErrorCode.MECHANISM})
# States of the own keys that a log lists as those in force, and as those that come next.
_NOT_CURRENT = frozenset({State.PRE_ACTIVE, State.RESERVE})
_NEXT = frozenset({State.PRE_ACTIVE, State.RESERVE, State.COMPROMISED})
_IN_FORCE = frozenset({State.ACTIVE, State.ROTATE_ONLY, State.SUSPENDED})


class Control(StrEnum):
    """Whether the owner can rotate an identifier with this wallet alone."""

    YES = "yes"
    NO = "no"
    SHARED = "with others"
    ENDED = "ended"
    WAITS = "waits"
    UNKNOWN = "unknown"


class Standing(msgspec.Struct, frozen=True, gc=False):
    """Where an identifier stands.

    Attributes:
        name: what the owner calls it.
        aid: the identifier.
        sn: place of its last event; None when its log is not here, or not begun.
        can_rotate: whether the keys for the next rotation are here.
    """

    name: str
    aid: Aid
    sn: int | None
    can_rotate: Control


class KeyCheck:
    """Derives the public half of each key whose private half is here.

    Attributes:
        usable: ids of keys that are what their records say.
        unknown: ids of keys in tokens that do not answer.
    """

    def __init__(self, wallet: Wallet, secrets: Mapping[str, Sealed], progress: Progress) -> None:
        """Use a wallet's vault, with the secrets that were read."""
        self._vault = wallet.vault
        self._secrets = secrets
        self._progress = progress
        self._silent: set[tuple[str, str, str]] = set()  # tokens that do not answer
        self.usable: set[str] = set()
        self.unknown: set[str] = set()

    def findings(self, keys: Sequence[KeyRecord]) -> Iterator[Finding]:
        """Check keys."""
        software, done = [], 0
        for key in keys:
            yield from self._placed(key)
            if not key.uri:
                continue
            uri = parse_uri(key.uri)
            source = KeySource(key.uri, Suite[key.suite], self._secret(key, uri))
            if isinstance(uri, TokenUri):
                yield from self._in_token(key, uri, source)
            else:
                software.append((key, source))
        for part in in_parts(software, _AT_ONCE):
            found = self._public_keys([source for _, source in part])
            for (key, _), raw in zip(part, found, strict=True):
                yield from self._compared(key, raw)
            done += len(part)
            self._progress("keys", done, len(software))

    def _placed(self, key: KeyRecord) -> Iterator[Finding]:
        """Check that the private half of a key is where its state says, as far as that shows."""
        about = f"key {key.id}"
        if key.type in _SECRETS:
            here = key.id in self._secrets
            if key.state in GONE and here:
                yield Finding(Kind.KEY_LEFT, about, f"it is {key.state}, and its secret is here")
            elif key.state not in GONE and not here:
                yield Finding(
                    Kind.KEY_GONE, about, f"it is {key.state}, and its secret is not here"
                )
        elif key.state in GONE and key.uri:
            yield Finding(Kind.KEY_LEFT, about, f"it is {key.state}, and says where it is")

    def _secret(self, key: KeyRecord, uri: KeyUri) -> Sealed | None:
        """Return what `Wallet.secret` does, of the secrets that were read."""
        match uri:
            case DerivedUri(epoch, identifier):
                branch = f"branch.{epoch}.{identifier}"
                name = branch if branch in self._secrets else f"master.{epoch}"
            case ImportedUri(own):
                name = f"imported.{own}"
            case TokenUri():
                name = key.parent
        return self._secrets.get(name)

    def _in_token(self, key: KeyRecord, uri: TokenUri, source: KeySource) -> Iterator[Finding]:
        token = (uri.module, uri.token, uri.serial)
        about = f"key {key.id}"
        if token not in self._silent:
            try:
                self._vault.prove_possession(source, parse_key(key.public_key).raw)
            except KeystoreError as error:
                if error.code not in _UNAVAILABLE:
                    yield self._fault(key, error)
                    return
                # Asked once only: a token locks itself after a few wrong PINs.
                self._silent.add(token)
                yield Finding(Kind.KEY_UNCHECKED, f"token {uri.token}", error.message)
            else:
                yield from self._named(key, about)
                return
        self.unknown.add(key.id)

    def _public_keys(self, sources: Sequence[KeySource]) -> list[bytes | KeystoreError]:
        """Return raw public keys, and for each that cannot be derived why."""
        try:
            return list(self._vault.public_keys(sources))
        except KeystoreError as error:
            if error.code not in (ErrorCode.GONE, ErrorCode.TAMPERED, ErrorCode.ROLE):
                raise
            if len(sources) == 1:
                return [error]
        middle = len(sources) // 2
        return self._public_keys(sources[:middle]) + self._public_keys(sources[middle:])

    def _compared(self, key: KeyRecord, raw: bytes | KeystoreError) -> Iterator[Finding]:
        about = f"key {key.id}"
        if isinstance(raw, KeystoreError):
            yield self._fault(key, raw)
        elif parse_key(key.public_key).raw != raw:
            yield Finding(Kind.KEY_MISMATCH, about, "its seed gives another public key")
        else:
            yield from self._named(key, about)

    def _named(self, key: KeyRecord, about: str) -> Iterator[Finding]:
        if build.commitment(parse_key(key.public_key)) != key.id:
            yield Finding(Kind.KEY_MISMATCH, about, "its id is not the digest of its public key")
        else:
            self.usable.add(key.id)

    def _fault(self, key: KeyRecord, error: KeystoreError) -> Finding:
        mismatch = error.code is ErrorCode.POSSESSION
        return Finding(
            Kind.KEY_MISMATCH if mismatch else Kind.KEY_GONE, f"key {key.id}", error.message
        )


class ControlCheck:
    """Compares keys with the logs that they serve.

    Attributes:
        standings: of the identifiers that were checked.
    """

    def __init__(self, wallet: Wallet, keys: Mapping[str, KeyRecord], checked: KeyCheck) -> None:
        """Use the key records that were read, and what is known of their private halves."""
        self._wallet = wallet
        self._keys = keys
        self._checked = checked
        self._by_identifier: dict[str, list[KeyRecord]] = {}
        for key in keys.values():
            self._by_identifier.setdefault(key.identifier, []).append(key)
        self.standings: list[Standing] = []

    def findings(self, record: IdentifierRecord) -> Iterator[Finding]:
        """Check one identifier."""
        about = f"identifier {record.name}"
        try:
            state = self._wallet.events.key_state(record.aid)
            if state is None and not record.pending:
                yield Finding(Kind.LOG_MISSING, about, f"there is no event of {record.aid}")
            control = self._control(record, state)
            if state is not None:
                yield from self._states(record, state)
                yield from self._notices(record, state, about)
        except StoreError as error:
            if error.code is not ErrorCode.STORE_CORRUPT:
                raise
            yield Finding(Kind.STORE_DAMAGED, about, error.message)
            state, control = None, Control.UNKNOWN
        if control is Control.NO:
            yield Finding(Kind.CONTROL_LOST, about, "too few of its next keys can be used")
        elif control is Control.SHARED:
            yield Finding(Kind.CONTROL_SHARED, about, "its own next keys are not enough")
        sn = None if state is None else state.sn
        self.standings.append(Standing(record.name, record.aid, sn, control))

    def _control(self, record: IdentifierRecord, state: KeyState | None) -> Control:
        if record.pending:
            event = parse_event(record.pending.encode())
            assert isinstance(event, EstablishmentEvent)  # noqa: S101 - no other needs approval
            after = self._usable(event.next_key_digests, event.next_threshold)
            return Control.WAITS if after in (Control.YES, Control.ENDED) else after
        if state is None:
            return Control.UNKNOWN
        return self._usable(
            state.establishment.next_key_digests, state.establishment.next_threshold
        )

    def _usable(self, digests: Sequence[Digest], threshold: Threshold) -> Control:
        if not digests:
            return Control.ENDED
        held: dict[Control, Collection[str]] = {
            Control.YES: self._checked.usable,
            Control.UNKNOWN: self._checked.usable | self._checked.unknown,
        }
        for control, ids in held.items():
            if threshold.satisfied_by(frozenset(_places(digests, ids))):
                return control
        others = [one for one in digests if one not in self._keys or not self._keys[one].uri]
        living = [one for one in others if one in self._keys and self._keys[one].state not in GONE]
        shared = {*self._checked.usable, *self._checked.unknown, *living}
        if threshold.satisfied_by(frozenset(_places(digests, shared))):
            return Control.SHARED
        return Control.NO

    def _states(self, record: IdentifierRecord, state: KeyState) -> Iterator[Finding]:
        last = state.establishment
        current = {build.commitment(key) for key in last.signing_keys}
        following = set(last.next_key_digests)
        for key in self._by_identifier.get(record.aid, ()):
            about, what = f"key {key.id}", ""
            if key.id in following and key.state not in _NEXT:
                what = "the log commits to it for the next rotation"
            elif key.id in current and key.uri and key.state in _NOT_CURRENT:
                what = "the log lists it as in force"
            elif key.id not in current and key.state in _IN_FORCE:
                what = "the log does not list it as in force"
            if what:
                yield Finding(Kind.KEY_STATE, about, f"it is {key.state}, but {what}")

    def _notices(self, record: IdentifierRecord, state: KeyState, about: str) -> Iterator[Finding]:
        """Check that the latest keys tell of each key of the past that is compromised."""
        suspects = {
            key.public_key
            for key in self._by_identifier.get(record.aid, ())
            if key.state in SUSPECT and key.public_key
        }
        if not suspects or not self._can_sign(state):
            return
        told = {
            one.signing_key.text
            for one in compromises(self._wallet.events, record.aid)
            if one.signer_sn == state.establishment.sn
        }
        for text in sorted(suspects & past_keys(self._wallet, state).keys() - told):
            yield Finding(Kind.LOG_NOTICE, about, f"the key {text} is compromised")

    def _can_sign(self, state: KeyState) -> bool:
        last = state.establishment
        places = [
            place
            for place, key in enumerate(last.signing_keys)
            if (digest := build.commitment(key)) in self._checked.usable
            and self._keys[digest].state is State.ACTIVE
        ]
        return last.transferable and last.signing_threshold.satisfied_by(frozenset(places))


def _places(digests: Sequence[Digest], ids: Collection[str]) -> Iterator[int]:
    return (place for place, one in enumerate(digests) if one in ids)
