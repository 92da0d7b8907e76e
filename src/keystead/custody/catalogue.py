"""The kinds of keys: what each is for, what it protects, how long it serves.

A kind has one purpose. Next keys are of the kind that they will be when a rotation reveals them;
that they wait is their state, not their kind.
"""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from keystead.custody.states import State
from keystead.errors import ErrorCode, KeystoreError


class KeyType(StrEnum):
    """A kind of key."""

    IDENTIFIER_SIGN = "identifier.sign"
    RESERVE = "identifier.reserve"
    MASTER_SEED = "master.seed"
    BRANCH_SEED = "branch.seed"
    WALLET_DATA = "wallet.data"
    WALLET_PASSPHRASE = "wallet.passphrase"  # noqa: S105 - the name of a kind of key
    TOKEN_PIN = "token.pin"  # noqa: S105 - as above
    WALLET_PERMISSION = "wallet.permission"
    RECORD_DATA = "record.data"
    AGENT_POLICY = "agent.policy"
    AGENT_SECRET = "agent.secret"  # noqa: S105 - as above
    AGENT_SIGN = "agent.a2a.sign"
    AGENT_ENCRYPT = "agent.a2a.enc"
    PAIR_ENCRYPT = "pair.enc"
    BACKUP = "backup.kem"
    RECOVERY = "recovery.scalar"
    ESCROW_SHARE = "escrow.share"
    LINK_SECRET = "link.secret"  # noqa: S105 - as above
    DEAD_DROP = "dead-drop"
    SESSION = "session"
    PAYMENT = "payment"


class Use(StrEnum):
    """What a key is used for at one time.

    Attributes:
        ESTABLISH: sign an inception or a rotation.
        INTERACT: sign an interaction.
        STATE: sign a statement or a document.
        PROVE: prove that one has it.
        DERIVE: make new keys from it.
        WRAP: encrypt keys.
        ENCRYPT: encrypt other data.
        AGREE: agree on a key with somebody.
        UNLOCK: open a token.
        READ: undo what it did before: decrypt, unwrap, derive the same keys again.
    """

    ESTABLISH = "establish"
    INTERACT = "interact"
    STATE = "state"
    PROVE = "prove"
    DERIVE = "derive"
    WRAP = "wrap"
    ENCRYPT = "encrypt"
    AGREE = "agree"
    UNLOCK = "unlock"
    READ = "read"


class Method(StrEnum):
    """How a key came to be.

    Attributes:
        DERIVED: from another key of the inventory.
        RANDOM: from the generator of the operating system.
        TOKEN: in a token, which it never leaves.
        IMPORTED: brought by its owner.
        PASSPHRASE: from a passphrase, by a slow function.
        OTHER: by somebody else; only the public half, or its digest, is here.
    """

    DERIVED = "derived"
    RANDOM = "random"
    TOKEN = "token"  # noqa: S105 - the name of a method
    IMPORTED = "imported"
    PASSPHRASE = "passphrase"  # noqa: S105 - as above
    OTHER = "other"


class KeyDescription(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What holds for all keys of a kind.

    Attributes:
        type: the kind.
        role: what such a key is for, in one line.
        protects: the kinds below: keys that it derives, wraps or gives access to.
        uses: what it may be used for.
        cryptoperiod: how long a key is used for new things once it is active; None: see `limit`.
        limit: what bounds its use, or why the period is that long.
        methods: how such keys come to be.
        long_term: it serves for longer than one exchange.
        in_use: this version makes such keys; False: the name is reserved.
    """

    type: KeyType
    role: str
    protects: tuple[KeyType, ...]
    uses: frozenset[Use]
    cryptoperiod: timedelta | None
    limit: str
    methods: frozenset[Method]
    long_term: bool
    in_use: bool


# SP 800-57 part 1 revision 5, section 5.3.6, takes 1 to 3 years for signatures, about 1 year for
# master keys, at most 2 years for keys that wrap or encrypt, 1 to 2 years for key agreement.
_YEAR: Final = timedelta(days=365)
_TWO_YEARS: Final = 2 * _YEAR

_SIGNING_METHODS: Final = frozenset(
    {Method.DERIVED, Method.RANDOM, Method.TOKEN, Method.IMPORTED, Method.OTHER}
)
_DERIVED: Final = frozenset({Method.DERIVED})
_RANDOM: Final = frozenset({Method.RANDOM})

_IN_USE: Final = (
    KeyDescription(
        type=KeyType.IDENTIFIER_SIGN,
        role="signs the events and statements of one identifier, in one place of its key list",
        protects=(),
        uses=frozenset({Use.ESTABLISH, Use.INTERACT, Use.STATE, Use.PROVE}),
        cryptoperiod=_YEAR,
        limit="a rotation replaces it at any time",
        methods=_SIGNING_METHODS,
        long_term=True,
        in_use=True,
    ),
    KeyDescription(
        type=KeyType.RESERVE,
        role="kept away by its holder, to sign the rotation that recovers one identifier",
        protects=(),
        uses=frozenset({Use.ESTABLISH, Use.PROVE}),
        cryptoperiod=None,
        limit="one rotation: it is revealed once and then replaced",
        methods=_SIGNING_METHODS,
        long_term=True,
        in_use=True,
    ),
    KeyDescription(
        type=KeyType.MASTER_SEED,
        role="derives one branch for each new identifier",
        protects=(KeyType.BRANCH_SEED,),
        uses=frozenset({Use.DERIVE, Use.READ}),
        cryptoperiod=_YEAR,
        limit="new identifiers should then get branches of a new seed; the old ones keep theirs",
        methods=frozenset({Method.RANDOM, Method.IMPORTED}),
        long_term=True,
        in_use=True,
    ),
    KeyDescription(
        type=KeyType.BRANCH_SEED,
        role="derives the keys of one identifier, one after the other",
        protects=(
            KeyType.IDENTIFIER_SIGN,
            KeyType.RESERVE,
            KeyType.AGENT_POLICY,
            KeyType.AGENT_SIGN,
            KeyType.AGENT_ENCRYPT,
            KeyType.PAIR_ENCRYPT,
            KeyType.DEAD_DROP,
        ),
        uses=frozenset({Use.DERIVE, Use.READ}),
        cryptoperiod=None,
        limit="one identifier, for as long as it lives: its log commits to keys of this branch",
        methods=_DERIVED,
        long_term=True,
        in_use=True,
    ),
    KeyDescription(
        type=KeyType.WALLET_DATA,
        role="encrypts the records of one wallet, each by itself",
        protects=(
            KeyType.MASTER_SEED,
            KeyType.BRANCH_SEED,
            KeyType.IDENTIFIER_SIGN,
            KeyType.RESERVE,
            KeyType.TOKEN_PIN,
            KeyType.WALLET_PERMISSION,
            KeyType.RECORD_DATA,
            KeyType.AGENT_SECRET,
            KeyType.LINK_SECRET,
        ),
        uses=frozenset({Use.WRAP, Use.ENCRYPT, Use.READ}),
        cryptoperiod=_TWO_YEARS,
        limit="one wallet",
        methods=_RANDOM,
        long_term=True,
        in_use=True,
    ),
    KeyDescription(
        type=KeyType.WALLET_PASSPHRASE,
        role="made from the passphrase, wraps the data key of the wallet",
        protects=(KeyType.WALLET_DATA,),
        uses=frozenset({Use.WRAP, Use.READ}),
        cryptoperiod=_TWO_YEARS,
        limit="a new passphrase replaces it at any time; it is never stored",
        methods=frozenset({Method.PASSPHRASE}),
        long_term=True,
        in_use=True,
    ),
    KeyDescription(
        type=KeyType.TOKEN_PIN,
        role="opens a token that holds signing keys",
        protects=(KeyType.IDENTIFIER_SIGN, KeyType.RESERVE),
        uses=frozenset({Use.UNLOCK}),
        cryptoperiod=None,
        limit="the token counts wrong tries and locks itself",
        methods=frozenset({Method.IMPORTED}),
        long_term=True,
        in_use=True,
    ),
)

_RESERVED: Final = (
    KeyDescription(
        type=KeyType.WALLET_PERMISSION,
        role="gives an agent one permission on one part of a wallet",
        protects=(KeyType.RECORD_DATA,),
        uses=frozenset({Use.WRAP, Use.READ}),
        cryptoperiod=_TWO_YEARS,
        limit="replaced when the permission is taken back",
        methods=_RANDOM,
        long_term=True,
        in_use=False,
    ),
    KeyDescription(
        type=KeyType.RECORD_DATA,
        role="encrypts one record, which is gone when its key is",
        protects=(),
        uses=frozenset({Use.ENCRYPT, Use.READ}),
        cryptoperiod=None,
        limit="one version of one record",
        methods=_RANDOM,
        long_term=True,
        in_use=False,
    ),
    KeyDescription(
        type=KeyType.AGENT_POLICY,
        role="speaks for one agent in its owner's policy registry, nowhere else",
        protects=(),
        uses=frozenset({Use.STATE, Use.PROVE}),
        cryptoperiod=_YEAR,
        limit="replaced when the agent is",
        methods=_DERIVED,
        long_term=True,
        in_use=False,
    ),
    KeyDescription(
        type=KeyType.AGENT_SECRET,
        role="lets one agent prove its authorization without showing who it is",
        protects=(),
        uses=frozenset({Use.PROVE}),
        cryptoperiod=_YEAR,
        limit="replaced when the agent is",
        methods=_RANDOM,
        long_term=True,
        in_use=False,
    ),
    KeyDescription(
        type=KeyType.AGENT_SIGN,
        role="signs messages between agents of one owner",
        protects=(),
        uses=frozenset({Use.STATE, Use.PROVE}),
        cryptoperiod=_YEAR,
        limit="replaced when the agent is",
        methods=_DERIVED,
        long_term=True,
        in_use=False,
    ),
    KeyDescription(
        type=KeyType.AGENT_ENCRYPT,
        role="agrees on keys of sessions between agents of one owner",
        protects=(KeyType.SESSION,),
        uses=frozenset({Use.AGREE, Use.READ}),
        cryptoperiod=_YEAR,
        limit="replaced when the agent is",
        methods=_DERIVED,
        long_term=True,
        in_use=False,
    ),
    KeyDescription(
        type=KeyType.PAIR_ENCRYPT,
        role="agrees on keys of sessions with one peer",
        protects=(KeyType.SESSION,),
        uses=frozenset({Use.AGREE, Use.READ}),
        cryptoperiod=_YEAR,
        limit="never made from a signing key",
        methods=_DERIVED,
        long_term=True,
        in_use=False,
    ),
    KeyDescription(
        type=KeyType.BACKUP,
        role="its public half wraps the data key in each backup",
        protects=(KeyType.WALLET_DATA,),
        uses=frozenset({Use.WRAP, Use.READ}),
        cryptoperiod=_TWO_YEARS,
        limit="the private half is only made to restore a backup",
        methods=_DERIVED,
        long_term=True,
        in_use=False,
    ),
    KeyDescription(
        type=KeyType.RECOVERY,
        role="shared among trustees, derives the key that opens backups",
        protects=(KeyType.BACKUP,),
        uses=frozenset({Use.DERIVE, Use.READ}),
        cryptoperiod=_YEAR,
        limit="replaced when the trustees change",
        methods=_RANDOM,
        long_term=True,
        in_use=False,
    ),
    KeyDescription(
        type=KeyType.ESCROW_SHARE,
        role="wraps a share on its way to a trustee",
        protects=(KeyType.RECOVERY,),
        uses=frozenset({Use.WRAP, Use.READ}),
        cryptoperiod=_TWO_YEARS,
        limit="one trustee",
        methods=frozenset({Method.RANDOM, Method.OTHER}),
        long_term=True,
        in_use=False,
    ),
    KeyDescription(
        type=KeyType.LINK_SECRET,
        role="links the credentials of one owner without showing who it is",
        protects=(),
        uses=frozenset({Use.PROVE}),
        cryptoperiod=None,
        limit="as long as its credentials: a new one breaks the link to them",
        methods=_RANDOM,
        long_term=True,
        in_use=False,
    ),
    KeyDescription(
        type=KeyType.DEAD_DROP,
        role="finds and opens the place where two parties meet after both have moved",
        protects=(),
        uses=frozenset({Use.DERIVE, Use.READ}),
        cryptoperiod=None,
        limit="one meeting",
        methods=_DERIVED,
        long_term=True,
        in_use=False,
    ),
    KeyDescription(
        type=KeyType.SESSION,
        role="encrypts the messages of one session",
        protects=(),
        uses=frozenset({Use.ENCRYPT, Use.READ}),
        cryptoperiod=None,
        limit="one session; it is never stored",
        methods=_DERIVED,
        long_term=False,
        in_use=False,
    ),
    KeyDescription(
        type=KeyType.PAYMENT,
        role="reserved: no use is defined",
        protects=(),
        uses=frozenset(),
        cryptoperiod=None,
        limit="no use",
        methods=frozenset(),
        long_term=True,
        in_use=False,
    ),
)

CATALOGUE: Mapping[KeyType, KeyDescription] = MappingProxyType(
    {one.type: one for one in (*_IN_USE, *_RESERVED)}
)

_NOTHING: Final = frozenset[Use]()
# A key that no event has revealed yet signs the event that does; one without weight signs no
# other. SP 800-57 allows proof of possession only: in KERI the event is that proof.
_REVEAL: Final = frozenset({Use.ESTABLISH, Use.PROVE})
# What was protected before must stay readable.
_READ: Final = frozenset({Use.READ})
# At the reader's risk. And when a thief has keys that the log commits to, the rotation that takes
# the identifier away from him needs just these; to refuse it would only help him.
_ESCAPE: Final = frozenset({Use.READ, Use.ESTABLISH})

# What keys in each state may be used for, as far as their kind may.
ALLOWED: Mapping[State, frozenset[Use]] = MappingProxyType(
    {
        State.PRE_ACTIVE: _REVEAL,
        State.RESERVE: _REVEAL,
        State.ACTIVE: frozenset(Use),
        State.ROTATE_ONLY: _REVEAL,
        State.SUSPENDED: _NOTHING,
        State.DEACTIVATED: _READ,
        State.COMPROMISED: _ESCAPE,
        State.ARCHIVED: _READ,
        State.DESTROYED: _NOTHING,
        State.DESTROYED_COMPROMISED: _NOTHING,
    }
)


def check_use(kind: KeyType, state: State, use: Use) -> None:
    """Check that a key may be used for something.

    Raises:
        KeystoreError: keys of its kind never may (keystore.role), or not in this state
            (keystore.state).
    """
    if use not in CATALOGUE[kind].uses:
        raise KeystoreError(
            ErrorCode.ROLE, f"a key for {kind} is not for: {use}", type=kind, use=use
        )
    if use not in ALLOWED[state]:
        raise KeystoreError(
            ErrorCode.LIFE_STATE,
            f"a key that is {state} cannot be used for: {use}",
            state=state,
            use=use,
        )


def check_method(kind: KeyType, method: Method) -> None:
    """Check that keys of a kind may come to be in this way.

    Raises:
        KeystoreError: they may not (keystore.role).
    """
    if method not in CATALOGUE[kind].methods:
        raise KeystoreError(
            ErrorCode.ROLE, f"a key for {kind} cannot be {method}", type=kind, method=method
        )
