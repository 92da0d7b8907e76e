"""The verdict on one event, step by step."""

import pytest

from keystead.cesr.groups import SignatureGroup
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode
from keystead.keri import build
from keystead.keri.attachments import Claims, Proofs, SignedEvent
from keystead.keri.build import Configuration, Witnesses
from keystead.keri.delegation import DelegationProof, seal_of
from keystead.keri.escrow import Missing, Want
from keystead.keri.events import AnyKeyEvent
from keystead.keri.keystate import AcceptedEvent, KeyState
from keystead.keri.seals import DigestSeal
from keystead.keri.superseding import Incumbent
from keystead.keri.thresholds import Field
from keystead.keri.verdicts import (
    Accepted,
    Duplicate,
    Duplicitous,
    Pending,
    ReceiptDue,
    Role,
    Source,
    Superseded,
)
from keystead.limits import Limits
from keystead.testing.authoring import Author, KeyPair, witness
from support.logs import (
    DIGEST,
    code_of,
    judged,
    judged_again,
    missing_of,
    pairs,
    parse_raw,
    plan,
    remade,
    signatures,
    state_after,
    witnessed_by,
)

FIRST, SECOND, THIRD = pairs("first", 3), pairs("second", 3), pairs("third", 3)
WITNESSES = [witness("a"), witness("b"), witness("c")]
DELEGATOR = Author("delegator")
DELEGATOR.incept()

INCEPTION = build.incept(plan(FIRST, "2", SECOND, "2"))
STATE = state_after(INCEPTION, signatures(INCEPTION, FIRST))
ROTATION = build.rotate(STATE, plan(SECOND, "2", THIRD, "2"))
INTERACTION = build.interact(STATE)
WITNESSED = build.incept(plan(FIRST[:1], "1", SECOND[:1], "1"), witnessed_by(WITNESSES, 2))
WITNESSED_STATE = state_after(WITNESSED, signatures(WITNESSED, FIRST[:1]))
DELEGATED = build.incept(
    plan(FIRST[:1], "1", SECOND[:1], "1"), configuration=Configuration(delegator=DELEGATOR.aid)
)
DELEGATED_STATE = state_after(DELEGATED, signatures(DELEGATED, FIRST[:1]))


def _claims(event: AnyKeyEvent, *signing: KeyPair) -> Claims:
    """Sign at the same place in both lists, in the order of the pairs."""
    return Claims(signatures(event, signing))


def _dual(
    event: AnyKeyEvent, *places: tuple[KeyPair, int, int | None]
) -> tuple[IndexedSignature, ...]:
    """Sign with a place in the current list and one, or none, in the prior next list."""
    return tuple(
        pair.indexed(event.raw, index, ondex, current_only=ondex is None)
        for pair, index, ondex in places
    )


def _accepted(event: AnyKeyEvent, state: KeyState, proofs: Proofs | None = None) -> AcceptedEvent:
    return AcceptedEvent(event, state, proofs or Proofs(), 0, "2026-01-02T03:04:05.000000+00:00")


# Step 1: the event before is known, and this one fits behind it.


def test_inception_needs_no_event_before() -> None:
    """A signed inception is accepted as it is."""
    verdict = judged(INCEPTION, _claims(INCEPTION, *FIRST))
    assert isinstance(verdict, Accepted)
    assert verdict.effects == ()
    assert not verdict.supersedes
    assert verdict.state == STATE


def test_state_after_an_inception_is_what_it_sets() -> None:
    """The key state holds everything that the inception establishes."""
    last = STATE.establishment
    assert (STATE.aid, STATE.sn, STATE.said) == (INCEPTION.aid, 0, INCEPTION.said)
    assert (STATE.prior_said, STATE.message_type) == (None, "icp")
    assert (last.sn, last.said, last.delegator) == (0, INCEPTION.said, None)
    assert last.signing_keys == tuple(pair.key for pair in FIRST)
    assert (last.signing_threshold.number, last.next_threshold.number) == (2, 2)


@pytest.mark.parametrize("event", [ROTATION, INTERACTION])
def test_later_event_waits_for_the_one_before(event: AnyKeyEvent) -> None:
    """An event whose prior event is not known waits for it, unverified."""
    signed = SignedEvent(event, _claims(event, *SECOND))
    verdict = judged_again(signed)
    assert missing_of(verdict) == {Missing(Want.EVENT, event.aid, 0)}
    assert isinstance(verdict, Pending)
    assert verdict.event == signed


@pytest.mark.parametrize("message_type", ["rot", "ixn"])
def test_event_of_another_branch_is_rejected(message_type: str) -> None:
    """`p` must name the event before."""
    event = parse_raw(remade(ROTATION if message_type == "rot" else INTERACTION, {"p": DIGEST}))
    verdict = judged(event, _claims(event, *(SECOND if message_type == "rot" else FIRST)), STATE)
    assert code_of(verdict) is ErrorCode.PRIOR_DIGEST


def test_rotation_behind_the_inception_is_accepted() -> None:
    """A rotation signed with the next keys replaces the keys."""
    verdict = judged(ROTATION, _claims(ROTATION, *SECOND), STATE)
    assert isinstance(verdict, Accepted)
    state = verdict.state
    assert (state.sn, state.prior_said, state.message_type) == (1, INCEPTION.said, "rot")
    assert state.establishment.signing_keys == tuple(pair.key for pair in SECOND)
    assert state.establishment.sn == 1


def test_interaction_leaves_the_keys() -> None:
    """An interaction signed with the current keys changes only place and digest."""
    verdict = judged(INTERACTION, _claims(INTERACTION, *FIRST), STATE)
    assert isinstance(verdict, Accepted)
    assert verdict.state.establishment is STATE.establishment
    assert (verdict.state.sn, verdict.state.said) == (1, INTERACTION.said)


@pytest.mark.parametrize("event", [ROTATION, INTERACTION])
def test_nothing_follows_the_end_of_a_log(event: AnyKeyEvent) -> None:
    """Without next keys "no more key events MUST be allowed"."""
    last = build.incept(plan(FIRST, "2"))
    state = state_after(last, signatures(last, FIRST))
    event = parse_raw(remade(event, {"i": state.aid, "p": state.said}))
    verdict = judged(event, _claims(event, *FIRST), state)
    assert code_of(verdict) is ErrorCode.NON_TRANSFERABLE


def test_nothing_follows_an_abandoned_log() -> None:
    """A rotation may commit to no next keys, which ends the log."""
    last = build.rotate(STATE, plan(SECOND, "2"))
    state = state_after(last, signatures(last, SECOND), STATE)
    assert not state.establishment.transferable
    event = parse_raw(remade(INTERACTION, {"s": "2", "p": state.said}))
    verdict = judged(event, _claims(event, *SECOND), state)
    assert code_of(verdict) is ErrorCode.NON_TRANSFERABLE


def test_nothing_follows_a_non_transferable_inception() -> None:
    """An identifier that is a fixed key has only its inception."""
    pair = KeyPair("fixed", transferable=False)
    inception = build.incept(plan([pair], "1"), configuration=Configuration(basic=True))
    state = state_after(inception, signatures(inception, [pair]))
    event = parse_raw(remade(INTERACTION, {"i": pair.aid, "p": state.said}))
    verdict = judged(event, _claims(event, pair), state)
    assert code_of(verdict) is ErrorCode.NON_TRANSFERABLE


# Step 2: an event that the log holds already.


def test_known_event_is_a_duplicate() -> None:
    """A copy of an accepted event adds only signatures that the log does not hold."""
    one, two, three = signatures(INCEPTION, FIRST)
    accepted = _accepted(INCEPTION, STATE, Proofs((one, two)))
    verdict = judged(INCEPTION, Claims((one, two, three)), incumbent=Incumbent(accepted, STATE.sn))
    assert verdict == Duplicate(accepted, Proofs((three,)))


def test_known_event_needs_no_signature() -> None:
    """A bare copy of an accepted event adds nothing."""
    accepted = _accepted(INCEPTION, STATE)
    verdict = judged(INCEPTION, Claims(), incumbent=Incumbent(accepted, STATE.sn))
    assert verdict == Duplicate(accepted, Proofs())


def test_copy_adds_receipts_once() -> None:
    """A witness or receiptor whose signature the log holds adds nothing in another form."""
    raw = WITNESSED.raw
    outsider, other = witness("x"), witness("y")
    held = Proofs((), (WITNESSES[0].indexed(raw, 0, 0),), (outsider.couple(raw),))
    accepted = _accepted(WITNESSED, WITNESSED_STATE, held)
    claims = Claims(
        (),
        (WITNESSES[0].indexed(raw, 0, 0), WITNESSES[1].indexed(raw, 1, 1)),
        tuple(one.couple(raw) for one in (WITNESSES[0], WITNESSES[2], outsider, other)),
    )
    verdict = judged(WITNESSED, claims, incumbent=Incumbent(accepted, 0))
    assert isinstance(verdict, Duplicate)
    assert {one.index for one in verdict.additions.witness_signatures} == {1, 2}
    assert verdict.additions.couples == (other.couple(raw),)


def test_bad_signature_on_a_copy_adds_nothing() -> None:
    """Only verified signatures are added to an accepted event."""
    accepted = _accepted(INCEPTION, STATE)
    claims = Claims((FIRST[0].indexed(b"something else", 0, 0),))
    verdict = judged(INCEPTION, claims, incumbent=Incumbent(accepted, 0))
    assert verdict == Duplicate(accepted, Proofs())


# Step 3: keys, witnesses and configuration are consistent.


@pytest.mark.parametrize(("traits", "code"), [(("EO",), ErrorCode.ESTABLISHMENT_ONLY), ((), None)])
def test_establishment_only_log_has_no_interactions(
    traits: tuple[str, ...], code: ErrorCode | None
) -> None:
    """With EO only establishment events are allowed."""
    inception = build.incept(
        plan(FIRST, "2", SECOND, "2"), configuration=Configuration(("DND", *traits))
    )
    state = state_after(inception, signatures(inception, FIRST))
    event = parse_raw(remade(INTERACTION, {"i": state.aid, "p": state.said}))
    verdict = judged(event, _claims(event, *FIRST), state)
    if code is None:
        assert isinstance(verdict, Accepted)
    else:
        assert code_of(verdict) is code


def test_establishment_only_log_has_rotations() -> None:
    """With EO rotations go on, and the trait stays."""
    inception = build.incept(plan(FIRST, "2", SECOND, "2"), configuration=Configuration(("EO",)))
    state = state_after(inception, signatures(inception, FIRST))
    rotation = build.rotate(state, plan(SECOND, "2"))
    verdict = judged(rotation, _claims(rotation, *SECOND), state)
    assert isinstance(verdict, Accepted)
    assert verdict.state.establishment.establishment_only


@pytest.mark.parametrize(("message_type", "state"), [("drt", STATE), ("rot", DELEGATED_STATE)])
def test_rotation_must_be_of_the_kind_of_the_identifier(message_type: str, state: KeyState) -> None:
    """A delegated identifier rotates with drt, any other with rot."""
    following = [SECOND[0]] if state is DELEGATED_STATE else SECOND
    event = build.rotate(state, plan(following, "1"))
    event = parse_raw(remade(event, {"t": message_type}))
    assert code_of(judged(event, _claims(event, *following), state)) is ErrorCode.DELEGATION


def _rotated(change: Witnesses, limits: Limits | None = None) -> object:
    event = parse_raw(
        remade(
            build.rotate(WITNESSED_STATE, plan(SECOND[:1], "1")),
            {
                "bt": f"{change.threshold:x}",
                "br": list(change.removed),
                "ba": list(change.added),
            },
        )
    )
    given = Limits() if limits is None else limits
    verdict = judged(
        event,
        _claims(event, SECOND[0]),
        WITNESSED_STATE,
        source=Source.LOCAL,
        role=Role.CONTROLLER,
        limits=given,
    )
    if isinstance(verdict, Accepted):
        return verdict.state.establishment.witnesses
    return code_of(verdict)


A, B, C = (one.aid for one in WITNESSES)
D, E = witness("d").aid, witness("e").aid


@pytest.mark.parametrize(
    ("change", "result"),
    [
        (Witnesses(2), (A, B, C)),
        (Witnesses(3), (A, B, C)),
        (Witnesses(0), (A, B, C)),
        (Witnesses(4), ErrorCode.WITNESSES),
        (Witnesses(1, [], [A]), (B, C)),
        (Witnesses(2, [D]), (A, B, C, D)),
        (Witnesses(4, [E, D]), (A, B, C, E, D)),
        (Witnesses(2, [D], [B]), (A, C, D)),
        (Witnesses(2, [A], [A]), (B, C, A)),
        (Witnesses(2, [B]), (A, B, C)),
        (Witnesses(0, [], [A, B, C]), ()),
        (Witnesses(1, [D], [C, B, A]), (D,)),
        (Witnesses(3, [], [A]), ErrorCode.WITNESSES),
        (Witnesses(4, [D], [A]), ErrorCode.WITNESSES),
        (Witnesses(4, [A]), ErrorCode.WITNESSES),
        (Witnesses(2, [], [D]), ErrorCode.WITNESSES),
        (Witnesses(2, [D], [D]), ErrorCode.WITNESSES),
    ],
)
def test_witnesses_are_removed_then_added(change: Witnesses, result: object) -> None:
    """Removals come first and name witnesses; additions are appended, present ones skipped."""
    assert _rotated(change) == result


def test_witness_list_is_bounded() -> None:
    """A rotation may not make the witness list longer than the limit."""
    assert _rotated(Witnesses(2, [D]), Limits(witnesses=3)) is ErrorCode.WITNESSES


def test_shrinking_list_keeps_the_bound() -> None:
    """A rotation may bring the witness list down to the limit."""
    assert _rotated(Witnesses(1, [], [A]), Limits(witnesses=2)) == (B, C)


def test_rotation_keeps_what_it_changed() -> None:
    """The key state tells which witnesses the latest establishment event removed and added."""
    event = build.rotate(WITNESSED_STATE, plan(SECOND[:1], "1"), Witnesses(2, [D], [A]))
    state = state_after(event, signatures(event, SECOND[:1]), WITNESSED_STATE)
    last = state.establishment
    assert (last.witnesses_removed, last.witnesses_added) == ((A,), (D,))


# Step 4: at least one signature of the controller.


@pytest.mark.parametrize("event", [INCEPTION, INTERACTION])
def test_unsigned_event_is_rejected(event: AnyKeyEvent) -> None:
    """An event without a signature of the controller MUST be dropped."""
    prior = None if event is INCEPTION else STATE
    assert code_of(judged(event, Claims(), prior)) is ErrorCode.UNSIGNED


def test_receipts_alone_are_no_signature_of_the_controller() -> None:
    """Witness receipts do not stand in for the controller."""
    claims = Claims((), (WITNESSES[0].indexed(WITNESSED.raw, 0, 0),))
    assert code_of(judged(WITNESSED, claims)) is ErrorCode.UNSIGNED


def test_unsigned_event_does_not_wait_for_the_one_before() -> None:
    """Without any signature of the controller, an event is dropped whatever comes."""
    couple = WITNESSES[0].couple(INTERACTION.raw)
    for claims in (Claims(), Claims(couples=(couple,))):
        assert code_of(judged(INTERACTION, claims)) is ErrorCode.UNSIGNED
    proven = SignedEvent(INTERACTION, Claims(), Proofs(signatures(INTERACTION, FIRST)))
    assert isinstance(judged_again(proven), Pending)


@pytest.mark.parametrize(
    "signature",
    [
        SECOND[0].indexed(INCEPTION.raw, 0, 0),
        FIRST[0].indexed(INCEPTION.raw, 1, 1),
        FIRST[0].indexed(INCEPTION.raw, 3, 3),
        FIRST[0].indexed(INCEPTION.raw + b" ", 0, 0),
    ],
    ids=["key", "place", "no place", "content"],
)
def test_event_without_a_good_signature_is_rejected(signature: IndexedSignature) -> None:
    """At least one signature must verify with a key of the controller."""
    assert code_of(judged(INCEPTION, Claims((signature,)))) is ErrorCode.SIGNATURE


def test_old_keys_do_not_sign_a_rotation() -> None:
    """A rotation is signed by the keys that it sets."""
    verdict = judged(ROTATION, _claims(ROTATION, *FIRST), STATE)
    assert code_of(verdict) is ErrorCode.SIGNATURE


# Step 5: the protected channel.


@pytest.mark.parametrize("role", [Role.CONTROLLER, Role.WITNESS, Role.DELEGATOR])
def test_own_event_must_come_through_a_protected_channel(role: Role) -> None:
    """An event of or for oneself that comes remotely waits for a local copy."""
    verdict = judged(INCEPTION, _claims(INCEPTION, *FIRST), role=role)
    assert missing_of(verdict) == {Missing(Want.LOCAL_SOURCE, INCEPTION.aid, 0, INCEPTION.said)}


@pytest.mark.parametrize(
    ("role", "source"),
    [
        (Role.VALIDATOR, Source.REMOTE),
        (Role.VALIDATOR, Source.LOCAL),
        (Role.CONTROLLER, Source.LOCAL),
        (Role.WITNESS, Source.LOCAL),
        (Role.DELEGATOR, Source.LOCAL),
    ],
)
def test_event_from_the_right_source_is_accepted(role: Role, source: Source) -> None:
    """Local events are fine for everyone, remote ones for validators."""
    verdict = judged(INCEPTION, _claims(INCEPTION, *FIRST), role=role, source=source)
    assert isinstance(verdict, Accepted)


def test_witness_owes_a_receipt() -> None:
    """What a witness accepts it has to receipt."""
    verdict = judged(INCEPTION, _claims(INCEPTION, *FIRST), role=Role.WITNESS, source=Source.LOCAL)
    assert isinstance(verdict, Accepted)
    assert verdict.effects == (ReceiptDue(),)


# Step 6: thresholds.


@pytest.mark.parametrize(
    ("signing", "detail"),
    [
        ((0,), "1 of 3 keys signed, at place 0"),
        ((2,), "1 of 3 keys signed, at place 2"),
        ((0, 0), "1 of 3 keys signed, at place 0"),
    ],
)
def test_event_waits_for_more_signatures(signing: tuple[int, ...], detail: str) -> None:
    """Below the signing threshold an event waits; one key that signs twice counts once."""
    claims = Claims(
        tuple(
            FIRST[place].indexed(INCEPTION.raw, place, turn) for turn, place in enumerate(signing)
        )
    )
    assert missing_of(judged(INCEPTION, claims)) == {
        Missing(Want.SIGNATURES, INCEPTION.aid, 0, INCEPTION.said, detail=detail)
    }


@pytest.mark.parametrize(
    ("threshold", "signing", "enough"),
    [
        ("2", (0, 1), True),
        (["1/2", "1/2", "1"], (2,), True),
        (["1/2", "1/2", "1"], (0,), False),
        (["1", "0", "0"], (0,), True),
        ([{"1/2": ["1", "1"]}, "1/2"], (1, 2), True),
        ([{"1/2": ["1", "1"]}, "1/2"], (0, 1), False),
    ],
)
def test_signing_threshold_of_any_kind(
    threshold: Field, signing: tuple[int, ...], *, enough: bool
) -> None:
    """Numbers, weights and nested weights decide over the places that signed."""
    event = build.incept(plan(FIRST, threshold))
    claims = Claims(tuple(FIRST[place].indexed(event.raw, place, place) for place in signing))
    assert isinstance(judged(event, claims), Accepted if enough else Pending)


def test_key_listed_twice_counts_once_in_the_signing_threshold() -> None:
    """Signatures of one key at two places of `k` do not make two signatures."""
    keys = [FIRST[0], FIRST[0], FIRST[1]]
    event = parse_raw(remade(INCEPTION, {"k": [pair.aid for pair in keys], "n": [], "nt": "0"}))
    verdict = judged(event, Claims(signatures(event, keys[:2])))
    assert {one.want for one in missing_of(verdict)} == {Want.SIGNATURES}
    assert isinstance(judged(event, Claims(signatures(event, keys))), Accepted)


def test_rotation_waits_for_more_next_keys() -> None:
    """A rotation that meets its own threshold waits until the prior next one is met too."""
    event = build.rotate(STATE, plan([SECOND[0], THIRD[0]], "1"))
    verdict = judged(event, _claims(event, SECOND[0], THIRD[0]), STATE)
    assert missing_of(verdict) == {
        Missing(
            Want.NEXT_KEYS, event.aid, 1, event.said, detail="1 of 3 next keys exposed, at place 0"
        )
    }


def test_rotation_may_lack_both_thresholds() -> None:
    """A rotation with too few signatures of both kinds waits for both."""
    event = build.rotate(STATE, plan([THIRD[0], SECOND[1]], "2"))
    claims = Claims((THIRD[0].indexed(event.raw, 0, None, current_only=True),))
    assert missing_of(judged(event, claims, STATE)) == {
        Missing(Want.SIGNATURES, event.aid, 1, event.said, detail="1 of 2 keys signed, at place 0"),
        Missing(Want.NEXT_KEYS, event.aid, 1, event.said, detail="0 of 3 next keys exposed"),
    }


def test_reserve_rotation_uses_both_indexes() -> None:
    """Some of the next keys rotate, at other places, and the others stay in reserve."""
    event = build.rotate(STATE, plan([THIRD[0], SECOND[2], SECOND[0]], "2", THIRD[1:], "1"))
    claims = Claims(_dual(event, (SECOND[2], 1, 2), (SECOND[0], 2, 0)))
    assert isinstance(judged(event, claims, STATE), Accepted)


def test_partial_rotation_adds_new_keys() -> None:
    """Keys that were not committed to sign for the current list alone."""
    event = build.rotate(STATE, plan([THIRD[0], SECOND[2], SECOND[0]], "3", THIRD[1:], "1"))
    claims = Claims(_dual(event, (THIRD[0], 0, None), (SECOND[2], 1, 2), (SECOND[0], 2, 0)))
    assert isinstance(judged(event, claims, STATE), Accepted)


@pytest.mark.parametrize(
    ("places", "exposed"),
    [
        # second indexes of the keys SECOND[2] and SECOND[0]
        ((2, 0), None),
        ((2, None), "1 of 3 next keys exposed, at place 2"),
        ((None, None), "0 of 3 next keys exposed"),
        ((1, 0), "1 of 3 next keys exposed, at place 0"),
        ((0, 2), "0 of 3 next keys exposed"),
        ((3, 0), "1 of 3 next keys exposed, at place 0"),
    ],
)
def test_only_the_right_second_index_exposes(
    places: tuple[int | None, int | None], exposed: str | None
) -> None:
    """Codes for the current list alone and wrong second indexes expose no next key."""
    event = build.rotate(STATE, plan([SECOND[2], SECOND[0]], "2"))
    claims = Claims(_dual(event, (SECOND[2], 0, places[0]), (SECOND[0], 1, places[1])))
    verdict = judged(event, claims, STATE)
    if exposed is None:
        assert isinstance(verdict, Accepted)
    else:
        assert missing_of(verdict) == {
            Missing(Want.NEXT_KEYS, event.aid, 1, event.said, detail=exposed)
        }


def test_key_committed_twice_counts_once_in_the_next_threshold() -> None:
    """A key whose digest is listed twice in `n` exposes one place, however it signs."""
    committed = [SECOND[0], SECOND[0], SECOND[1]]
    inception = parse_raw(
        remade(INCEPTION, {"n": [build.commitment(pair.key) for pair in committed]})
    )
    state = state_after(inception, signatures(inception, FIRST))
    event = build.rotate(state, plan([SECOND[0], SECOND[1]], "1"))
    twice = Claims(_dual(event, (SECOND[0], 0, 0), (SECOND[0], 0, 1)))
    assert {one.want for one in missing_of(judged(event, twice, state))} == {Want.NEXT_KEYS}
    both = Claims(_dual(event, (SECOND[0], 0, 0), (SECOND[1], 1, 2)))
    assert isinstance(judged(event, both, state), Accepted)


def test_key_listed_twice_exposes_one_next_key() -> None:
    """A key at two places of `k` cannot expose two digests of `n` that are both its own."""
    committed = [SECOND[0], SECOND[0], SECOND[1]]
    inception = parse_raw(
        remade(INCEPTION, {"n": [build.commitment(pair.key) for pair in committed]})
    )
    state = state_after(inception, signatures(inception, FIRST))
    event = build.rotate(state, plan([SECOND[0], SECOND[1]], "1"))
    event = parse_raw(remade(event, {"k": [SECOND[0].aid, SECOND[0].aid]}))
    claims = Claims(_dual(event, (SECOND[0], 0, 0), (SECOND[0], 1, 1)))
    assert {one.want for one in missing_of(judged(event, claims, state))} == {Want.NEXT_KEYS}


def test_interaction_exposes_no_keys() -> None:
    """An interaction needs the signing threshold alone."""
    claims = Claims(_dual(INTERACTION, (FIRST[0], 0, None), (FIRST[2], 2, None)))
    assert isinstance(judged(INTERACTION, claims, STATE), Accepted)


def _receipted(
    event: AnyKeyEvent, signing: KeyPair, *receipts: tuple[KeyPair, int, int | None]
) -> Claims:
    return Claims(signatures(event, [signing]), _dual(event, *receipts))


def test_event_waits_for_receipts() -> None:
    """Below the witness threshold an event waits."""
    claims = _receipted(WITNESSED, FIRST[0], (WITNESSES[1], 1, 1))
    assert missing_of(judged(WITNESSED, claims)) == {
        Missing(Want.RECEIPTS, WITNESSED.aid, 0, WITNESSED.said, detail="1 of 2 receipts")
    }


def test_enough_receipts_suffice() -> None:
    """With as many witness receipts as the threshold an event is accepted."""
    claims = _receipted(WITNESSED, FIRST[0], (WITNESSES[2], 2, 2), (WITNESSES[0], 0, 0))
    verdict = judged(WITNESSED, claims)
    assert isinstance(verdict, Accepted)
    assert {one.index for one in verdict.proofs.witness_signatures} == {0, 2}


def test_witness_counts_once() -> None:
    """A witness that signs in several forms makes one receipt."""
    claims = _receipted(WITNESSED, FIRST[0], (WITNESSES[1], 1, 1), (WITNESSES[1], 1, 0))
    claims = claims.merged(Claims(couples=(WITNESSES[1].couple(WITNESSED.raw),)))
    (missing,) = missing_of(judged(WITNESSED, claims))
    assert missing.detail == "1 of 2 receipts"


def test_couples_of_witnesses_are_receipts() -> None:
    """Receipt couples of witnesses count towards the threshold."""
    couples = tuple(one.couple(WITNESSED.raw) for one in WITNESSES[:2])
    claims = Claims(signatures(WITNESSED, FIRST[:1]), couples=couples)
    assert isinstance(judged(WITNESSED, claims), Accepted)


def test_couples_of_others_are_no_receipts() -> None:
    """Receipt couples of others are kept and count for nothing."""
    couples = tuple(witness(name).couple(WITNESSED.raw) for name in "xyz")
    verdict = judged(WITNESSED, Claims(signatures(WITNESSED, FIRST[:1]), couples=couples))
    assert {one.want for one in missing_of(verdict)} == {Want.RECEIPTS}
    assert isinstance(verdict, Pending)
    assert verdict.event.proofs.couples == couples


def test_zero_threshold_needs_no_receipts() -> None:
    """Witnesses with the threshold zero are not waited for."""
    event = parse_raw(remade(WITNESSED, {"bt": "0"}))
    assert isinstance(judged(event, _claims(event, FIRST[0])), Accepted)


def test_rotation_is_receipted_by_the_new_witnesses() -> None:
    """Receipts of a rotation are counted over the witness list after it."""
    change = Witnesses(2, [D], [A, B])
    event = build.rotate(WITNESSED_STATE, plan(SECOND[:1], "1"), change)
    old = _receipted(event, SECOND[0], (WITNESSES[0], 0, 0), (WITNESSES[1], 1, 1))
    (missing,) = missing_of(judged(event, old, WITNESSED_STATE))
    assert missing.detail == "0 of 2 receipts"
    new = _receipted(event, SECOND[0], (WITNESSES[2], 0, 0), (witness("d"), 1, 1))
    assert isinstance(judged(event, new, WITNESSED_STATE), Accepted)


@pytest.mark.parametrize("role", [Role.CONTROLLER, Role.WITNESS])
def test_controller_and_witness_do_not_wait_for_receipts(role: Role) -> None:
    """Receipts come after the acceptance by controller and witnesses."""
    verdict = judged(WITNESSED, _claims(WITNESSED, FIRST[0]), role=role, source=Source.LOCAL)
    assert isinstance(verdict, Accepted)


def test_delegator_waits_for_receipts() -> None:
    """A delegator approves only what the delegate's witnesses have receipted."""
    verdict = judged(
        WITNESSED, _claims(WITNESSED, FIRST[0]), role=Role.DELEGATOR, source=Source.LOCAL
    )
    assert {one.want for one in missing_of(verdict)} == {Want.RECEIPTS}


# Step 6: the delegator's approval.

APPROVAL = Missing(Want.APPROVAL, DELEGATOR.aid, 0, DELEGATED.said, DELEGATED.aid)
SEALING = build.interact(DELEGATOR.state, [seal_of(DELEGATED)])


@pytest.mark.parametrize(
    ("proof", "missing"),
    [
        (None, {APPROVAL, Missing(Want.EVENT, DELEGATOR.aid, 0)}),
        (
            DelegationProof(DELEGATOR.aid, known=False),
            {APPROVAL, Missing(Want.EVENT, DELEGATOR.aid, 0)},
        ),
        (DelegationProof(DELEGATOR.aid, known=True), {APPROVAL}),
    ],
    ids=["nothing known", "delegator unknown", "no seal"],
)
def test_delegated_event_waits_for_approval(
    proof: DelegationProof | None, missing: set[Missing]
) -> None:
    """A delegated event waits for the seal, and for the delegator's log if that is unknown."""
    signed = SignedEvent(DELEGATED, _claims(DELEGATED, FIRST[0]))
    verdict = judged_again(signed) if proof is None else judged_again(signed, delegation=proof)
    assert missing_of(verdict) == missing


def test_approved_event_is_accepted() -> None:
    """With the delegator's seal a delegated event is accepted."""
    proof = DelegationProof(DELEGATOR.aid, known=True, event=SEALING, seal=0)
    verdict = judged(DELEGATED, _claims(DELEGATED, FIRST[0]), delegation=proof)
    assert isinstance(verdict, Accepted)
    assert verdict.state.establishment.delegator == DELEGATOR.aid


@pytest.mark.parametrize("event", [None, SEALING])
def test_delegator_may_forbid_delegation(event: AnyKeyEvent | None) -> None:
    """With DND in the delegator's inception a delegated event is dropped, sealed or not."""
    proof = DelegationProof(DELEGATOR.aid, known=True, forbidden=True, event=event, seal=0)
    verdict = judged(DELEGATED, _claims(DELEGATED, FIRST[0]), delegation=proof)
    assert code_of(verdict) is ErrorCode.DO_NOT_DELEGATE


@pytest.mark.parametrize("role", [Role.CONTROLLER, Role.WITNESS])
def test_controller_and_witness_do_not_wait_for_approval(role: Role) -> None:
    """The delegator approves after controller and witnesses have accepted."""
    verdict = judged(DELEGATED, _claims(DELEGATED, FIRST[0]), role=role, source=Source.LOCAL)
    assert isinstance(verdict, Accepted)


def test_delegated_rotation_waits_for_approval() -> None:
    """A delegated rotation needs a seal of its own."""
    event = build.rotate(DELEGATED_STATE, plan(SECOND[:1], "1"))
    proof = DelegationProof(DELEGATOR.aid, known=True)
    verdict = judged(event, _claims(event, SECOND[0]), DELEGATED_STATE, delegation=proof)
    assert missing_of(verdict) == {Missing(Want.APPROVAL, DELEGATOR.aid, 1, event.said, event.aid)}


def test_interaction_of_a_delegate_needs_no_approval() -> None:
    """Interactions are not approved."""
    event = build.interact(DELEGATED_STATE)
    assert isinstance(judged(event, _claims(event, FIRST[0]), DELEGATED_STATE), Accepted)


# What was verified is kept while an event waits.


def test_waiting_event_keeps_its_proofs() -> None:
    """A pending event holds what verified, and of the claims only the endorsements."""
    endorsement = SignatureGroup(DELEGATOR.aid, 0, DIGEST, ())
    good, bad = signatures(INCEPTION, FIRST[:1])[0], SECOND[1].indexed(INCEPTION.raw, 1, 1)
    verdict = judged(INCEPTION, Claims((good, bad), endorsements=(endorsement,)))
    assert isinstance(verdict, Pending)
    assert verdict.event == SignedEvent(
        INCEPTION, Claims(endorsements=(endorsement,)), Proofs((good,)), INCEPTION.said
    )


def test_proofs_of_an_earlier_attempt_count() -> None:
    """Signatures that arrive one after another add up."""
    one, two, _ = signatures(INCEPTION, FIRST)
    signed = SignedEvent(INCEPTION, Claims((two,)), Proofs((one,)), INCEPTION.said)
    assert isinstance(judged_again(signed), Accepted)


def test_proofs_under_other_keys_do_not_count() -> None:
    """What was verified with the keys of another establishment event is forgotten."""
    one, two, _ = signatures(INTERACTION, FIRST)
    signed = SignedEvent(INTERACTION, Claims((two,)), Proofs((one,)), DIGEST)
    verdict = judged_again(signed, STATE)
    assert {one.detail for one in missing_of(verdict)} == {"1 of 3 keys signed, at place 1"}


# Step 7: another event at the place. The rules themselves are tested with `superseding`.


def _incumbent(event: AnyKeyEvent, state: KeyState) -> Incumbent:
    return Incumbent(_accepted(event, state), state.establishment.sn)


def test_rotation_supersedes_an_interaction() -> None:
    """A superseding event says from where on the trunk is disputed."""
    state = state_after(INTERACTION, signatures(INTERACTION, FIRST), STATE)
    verdict = judged(
        ROTATION, _claims(ROTATION, *SECOND), STATE, incumbent=_incumbent(INTERACTION, state)
    )
    assert isinstance(verdict, Accepted)
    assert verdict.effects == (Superseded(1),)
    assert verdict.supersedes


def test_witness_owes_a_receipt_for_a_superseding_event() -> None:
    """A witness that accepts a recovery has both effects."""
    state = state_after(INTERACTION, signatures(INTERACTION, FIRST), STATE)
    verdict = judged(
        ROTATION,
        _claims(ROTATION, *SECOND),
        STATE,
        incumbent=_incumbent(INTERACTION, state),
        role=Role.WITNESS,
        source=Source.LOCAL,
    )
    assert isinstance(verdict, Accepted)
    assert verdict.effects == (Superseded(1), ReceiptDue())


OTHER = build.interact(STATE, [DigestSeal(DIGEST)])


def test_two_verified_events_at_one_place_are_duplicity() -> None:
    """The evidence holds both events with their signatures."""
    state = state_after(INTERACTION, signatures(INTERACTION, FIRST), STATE)
    incumbent = _incumbent(INTERACTION, state)
    verdict = judged(OTHER, _claims(OTHER, *FIRST), STATE, incumbent=incumbent)
    assert isinstance(verdict, Duplicitous)
    evidence = verdict.evidence
    assert evidence.accepted.event == INTERACTION
    assert (evidence.other, evidence.proofs) == (OTHER, Proofs(signatures(OTHER, FIRST)))
    assert (evidence.aid, evidence.sn) == (STATE.aid, 1)


def test_too_few_signatures_are_no_duplicity() -> None:
    """A version that too few keys signed holds nobody accountable."""
    state = state_after(INTERACTION, signatures(INTERACTION, FIRST), STATE)
    verdict = judged(
        OTHER, _claims(OTHER, FIRST[0]), STATE, incumbent=_incumbent(INTERACTION, state)
    )
    assert code_of(verdict) is ErrorCode.SUPERSEDING


def test_unsigned_version_is_no_duplicity() -> None:
    """A version without signature is rejected before anything else."""
    state = state_after(INTERACTION, signatures(INTERACTION, FIRST), STATE)
    verdict = judged(OTHER, Claims(), STATE, incumbent=_incumbent(INTERACTION, state))
    assert code_of(verdict) is ErrorCode.UNSIGNED


def test_second_inception_is_duplicity() -> None:
    """A basic identifier with two inceptions is duplicitous."""
    plans = [plan(FIRST[:1], "1", following, "1") for following in (SECOND[:1], THIRD[:1])]
    one, other = (build.incept(keys, configuration=Configuration(basic=True)) for keys in plans)
    state = state_after(one, signatures(one, FIRST[:1]))
    verdict = judged(other, _claims(other, FIRST[0]), incumbent=_incumbent(one, state))
    assert isinstance(verdict, Duplicitous)


def test_aid_of_the_delegator_is_text() -> None:
    """The state of a delegated identifier names the delegator."""
    assert DELEGATED_STATE.establishment.delegator == Aid(DELEGATOR.aid)
