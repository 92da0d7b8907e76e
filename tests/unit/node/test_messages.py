"""What a node does with replies, queries and exchanges."""

from datetime import timedelta
from typing import Any

import pytest

from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, LastSignatureGroup, SignatureGroup
from keystead.cesr.indexed import IndexedSignature
from keystead.cesr.keys import digest
from keystead.errors import ErrorCode
from keystead.keri import build
from keystead.keri.build import Configuration
from keystead.keri.escrow import Missing, WaitingMessage, Want
from keystead.keri.messages import Query
from keystead.keri.routed import EndRole, KeyCompromise, Location, Statement, state_fields
from keystead.keri.seals import DigestSeal, EventSeal, field_of
from keystead.keri.verdicts import (
    Accepted,
    Authentic,
    Recorded,
    Unauthenticated,
    Waits,
)
from keystead.limits import Limits
from keystead.testing.authoring import Author, KeyPair, witness
from support.logs import (
    DIGEST,
    NOW,
    STAMP,
    Node,
    attached,
    code_of,
    controlled,
    coupled,
    endorsed,
    group,
    missing_of,
    plan,
    routed,
    signatures,
    signed_by_last,
    state_after,
)

ENDPOINT = witness("endpoint")
LATE = "2026-01-02T03:04:05.000001+00:00"


def _author(name: str = "any", keys: int = 1) -> tuple[Author, bytes]:
    author = Author(name, keys=keys)
    return author, author.incept().raw


def _role(author: Author, action: str = "add", stamp: str = STAMP) -> bytes:
    attributes = {"cid": author.aid, "role": "watcher", "eid": ENDPOINT.aid}
    return routed("rpy", r=f"/end/role/{action}", a=attributes, dt=stamp)


def _location(url: str = "http://localhost:1", stamp: str = STAMP) -> bytes:
    attributes = {"eid": ENDPOINT.aid, "scheme": "http", "url": url}
    return routed("rpy", r="/loc/scheme", a=attributes, dt=stamp)


def _statements(node: Node) -> list[Statement]:
    return [record.statement for record in node.store.records()]


# Replies.


def test_reply_of_a_transferable_signer_is_recorded() -> None:
    """A reply signed with a named establishment event (-F) is kept with its proof."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    raw = _role(author)
    verdict = node.feed(attached(raw, endorsed(author, raw)))
    assert isinstance(verdict, Recorded)
    record = verdict.record
    assert record.statement == EndRole(author.aid, "watcher", ENDPOINT.aid, allowed=True)
    assert record.signer_sn == 0
    assert record.proofs.endorsements[0].signatures == author.signatures(raw)
    assert node.store.record(record.key) == record


def test_reply_of_the_latest_keys_is_recorded() -> None:
    """A reply signed with the latest keys (-H) is kept under the place of those keys."""
    node, (author, log) = Node(), _author()
    node.accept(log, author.rotate().raw)
    raw = _role(author)
    verdict = node.feed(attached(raw, signed_by_last(author, raw)))
    assert isinstance(verdict, Recorded)
    assert verdict.record.signer_sn == 1


def test_reply_of_a_non_transferable_signer_is_recorded() -> None:
    """A reply signed by a fixed key (-C) needs no log."""
    node, raw = Node(), _location()
    verdict = node.feed(attached(raw, coupled(ENDPOINT, raw)))
    assert isinstance(verdict, Recorded)
    assert verdict.record.statement == Location(ENDPOINT.aid, "http", "http://localhost:1")
    assert verdict.record.signer_sn is None
    assert verdict.record.proofs.couples == (ENDPOINT.couple(raw),)


def test_unsigned_reply_is_refused() -> None:
    """A reply without signature is dropped."""
    assert code_of(Node().feed(_location())) is ErrorCode.UNSIGNED


def test_reply_must_be_signed_by_its_authority() -> None:
    """A statement about an endpoint is signed by the endpoint itself."""
    raw, other = _location(), witness("other")
    assert code_of(Node().feed(attached(raw, coupled(other, raw)))) is ErrorCode.SIGNER


def test_signatures_of_others_are_left_out() -> None:
    """Signatures of others beside that of the authority do not matter."""
    node, raw = Node(), _location()
    both = group(GroupKind.RECEIPT_COUPLES, witness("other").couple(raw), ENDPOINT.couple(raw))
    (result,) = node.results(attached(raw, both))
    assert isinstance(result.verdict, Recorded)


@pytest.mark.parametrize("pair", [ENDPOINT, KeyPair("transferable")])
def test_bad_couple_is_refused(pair: KeyPair) -> None:
    """A couple must verify, and be by a key that cannot be replaced."""
    attributes = {"eid": pair.aid, "scheme": "http", "url": ""}
    raw = routed("rpy", r="/loc/scheme", a=attributes)
    content = raw + b" " if pair is ENDPOINT else raw
    assert code_of(Node().feed(attached(raw, coupled(pair, content)))) is ErrorCode.SIGNATURE


def test_reply_to_an_unknown_route_is_refused() -> None:
    """A reply that states nothing known is refused."""
    raw = routed("rpy", r="/unknown")
    assert code_of(Node().feed(attached(raw, coupled(ENDPOINT, raw)))) is ErrorCode.ROUTE


def test_reply_with_malformed_attributes_is_refused() -> None:
    """A reply without its attributes is refused."""
    raw = routed("rpy", r="/loc/scheme")
    assert code_of(Node().feed(attached(raw, coupled(ENDPOINT, raw)))) is ErrorCode.FIELDS


@pytest.mark.parametrize("last", [False, True])
def test_reply_waits_for_the_log_of_its_signer(*, last: bool) -> None:
    """A reply of an unknown signer waits for its log and is recorded then."""
    node, (author, log) = Node(), _author()
    raw = _role(author)
    signed = signed_by_last(author, raw) if last else endorsed(author, raw)
    assert missing_of(node.feed(attached(raw, signed))) == {Missing(Want.EVENT, author.aid, 0)}
    results = node.results(log)
    assert isinstance(results[1].verdict, Recorded)
    assert not list(node.store.waiting())


def test_reply_waits_for_the_named_event() -> None:
    """A reply that names a later event waits for that."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    rotation = author.rotate()
    raw = _role(author)
    signed = attached(raw, endorsed(author, raw))
    assert missing_of(node.feed(signed)) == {Missing(Want.EVENT, author.aid, 1)}
    assert isinstance(node.results(rotation.raw)[1].verdict, Recorded)


def test_reply_of_another_version_of_the_log_is_refused() -> None:
    """The named event must be the one that the log holds."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    raw = _role(author)
    named = SignatureGroup(author.aid, 0, DIGEST, author.signatures(raw))
    verdict = node.feed(attached(raw, group(GroupKind.SIGNATURE_GROUPS, named)))
    assert code_of(verdict) is ErrorCode.SIGNER_SEAL


@pytest.mark.parametrize("last", [False, True])
def test_signatures_of_a_reply_add_up(*, last: bool) -> None:
    """A reply below the signer's threshold waits for more signatures."""
    node, (author, log) = Node(), _author(keys=2)
    node.accept(log)
    raw = _role(author)
    one, two = author.signatures(raw)
    (missing,) = missing_of(node.feed(attached(raw, _group(author, one, last=last))))
    said = author.state.said
    assert missing.want is Want.SIGNATURES
    assert (missing.aid, missing.sn, missing.detail) == (author.aid, 0, "1 of 2 keys signed")
    assert missing.said != said
    assert isinstance(node.feed(attached(raw, _group(author, two, last=last))), Recorded)
    assert not list(node.store.waiting())


def _group(author: Author, *signed: IndexedSignature, last: bool) -> Group:
    establishment = author.state.establishment
    if last:
        return group(GroupKind.LAST_SIGNATURE_GROUPS, LastSignatureGroup(author.aid, signed))
    named = SignatureGroup(author.aid, establishment.sn, establishment.said, signed)
    return group(GroupKind.SIGNATURE_GROUPS, named)


def test_signatures_by_replaced_keys_do_not_add_up() -> None:
    """A signature by a former key does not count together with one by a latest key."""
    node, (author, log) = Node(), _author(keys=2)
    node.accept(log)
    raw = _role(author)
    old, _ = author.signatures(raw)
    node.feed(attached(raw, _group(author, old, last=True)))
    node.accept(author.rotate().raw)
    _, new = author.signatures(raw)
    verdict = node.feed(attached(raw, _group(author, new, last=True)))
    (missing,) = missing_of(verdict)
    assert missing.detail == "1 of 2 keys signed"


def test_waiting_signatures_of_a_message_are_bounded() -> None:
    """Of unverified signatures those that came first stay, and one copy adds only so many."""
    node, (author, _) = Node(limits=Limits(keys=2, receipts=5)), _author()
    raw = _role(author)
    junk = [KeyPair("x").indexed(bytes([number]), 0, 0) for number in range(7)]
    for sent, kept in ((junk[:1], 1), (junk[1:4], 3), (junk[4:], 5)):
        node.feed(attached(raw, _group(author, *sent, last=True)))
        (held,) = node.store.waiting()
        assert isinstance(held.waiting, WaitingMessage)
        expected = [*junk[:3], *junk[4:6]]
        assert held.waiting.signatures == tuple(expected[:kept])


def test_useless_signatures_leave_no_waiting_message_worse() -> None:
    """A copy with any number of useless signatures does not replace the good ones."""
    node, (author, log) = Node(), _author()
    raw = _role(author)
    junk = [IndexedSignature("A", 0, 0, number.to_bytes(64, "big")) for number in range(1025)]
    node.feed(attached(raw, _group(author, *author.signatures(raw), last=True)))
    node.feed(attached(raw, _group(author, *junk, last=True)))
    assert isinstance(node.results(log)[1].verdict, Recorded)


def test_another_place_of_the_signers_keys_is_another_message() -> None:
    """A copy that names a wrong place of the establishment event replaces nothing."""
    node, (author, log) = Node(), _author()
    raw = _role(author)
    node.feed(attached(raw, endorsed(author, raw)))
    wrong = SignatureGroup(author.aid, 99, author.state.said, author.signatures(raw))
    node.feed(attached(raw, group(GroupKind.SIGNATURE_GROUPS, wrong)))
    assert len(list(node.store.waiting())) == 2
    assert isinstance(node.results(log)[1].verdict, Recorded)


def test_signers_of_a_message_are_bounded() -> None:
    """A message that anybody may sign waits for a few of them only."""
    node = Node(limits=Limits(signers=2))
    raw = routed("qry", q={"i": DIGEST})
    couples = group(GroupKind.RECEIPT_COUPLES, *(witness(name).couple(raw) for name in "abc"))
    results = node.results(attached(raw, couples))
    assert [type(result.verdict) for result in results] == [Waits, Waits]


def test_first_arrival_of_a_message_counts() -> None:
    """Another copy of a message that waits does not make it wait longer."""
    node, (author, _) = Node(), _author()
    raw = _role(author)
    for minutes in (0, 1):
        node.feed(attached(raw, endorsed(author, raw)), now=NOW + timedelta(minutes=minutes))
    (held,) = node.store.waiting()
    assert held.since == NOW


def test_bad_reply_is_refused() -> None:
    """A reply whose signature does not verify is dropped, and no longer held."""
    node, (author, log) = Node(), _author()
    raw = _role(author)
    node.feed(attached(raw, endorsed(author, raw + b" ")))
    results = node.results(log)
    assert code_of(results[1].verdict) is ErrorCode.SIGNATURE
    assert not list(node.store.waiting())


# Best available data.


def test_later_reply_replaces_an_earlier_one() -> None:
    """A statement with a later time replaces the one before."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    for raw in (_role(author), _role(author, "cut", LATE)):
        assert isinstance(node.feed(attached(raw, endorsed(author, raw))), Recorded)
    assert _statements(node) == [EndRole(author.aid, "watcher", ENDPOINT.aid, allowed=False)]


def test_earlier_reply_is_stale() -> None:
    """A statement that is not later than the known one is refused."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    new, old = _role(author, "cut", LATE), _role(author)
    node.feed(attached(new, endorsed(author, new)))
    assert code_of(node.feed(attached(old, endorsed(author, old)))) is ErrorCode.STALE


def test_replayed_reply_changes_nothing() -> None:
    """The same statement once more is recorded already."""
    node, raw = Node(), _location()
    signed = attached(raw, coupled(ENDPOINT, raw))
    first = node.feed(signed)
    assert isinstance(first, Recorded)
    assert node.feed(signed) == first


def test_reply_under_a_later_key_state_wins() -> None:
    """A statement signed by later keys replaces one of a later time signed by earlier keys."""
    node, (author, log) = Node(), _author()
    old = _role(author, "add", LATE)
    node.accept(log)
    node.feed(attached(old, endorsed(author, old)))
    node.accept(author.rotate().raw)
    new = _role(author, "cut", STAMP)
    assert isinstance(node.feed(attached(new, endorsed(author, new))), Recorded)


def test_reply_that_later_keys_sign_again_is_kept_with_them() -> None:
    """The same statement under a later key state takes the place of that under the earlier."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    raw = _role(author)
    early = attached(raw, endorsed(author, raw))
    assert isinstance(node.feed(early), Recorded)
    node.accept(author.rotate().raw)
    assert isinstance(node.feed(attached(raw, endorsed(author, raw))), Recorded)
    verdict = node.feed(early)
    assert isinstance(verdict, Recorded)
    assert verdict.record.signer_sn == 1


def test_statement_under_keys_that_a_recovery_took_back_is_replaced() -> None:
    """What a thief stated under a lost rotation, however late, does not keep the owner's out."""
    node, (root, log), thief = Node(), _author("delegator"), Author("delegate")
    signed = thief.incept(configuration=Configuration(delegator=root.aid))
    node.accept(log, root.interact(signed.seal).raw, signed.raw)
    owner = thief.fork()
    lost, recovery = thief.rotate(), owner.rotate(anchors=[DigestSeal(DIGEST)])
    node.accept(root.interact(lost.seal).raw, lost.raw)
    forged, raw = _role(thief, stamp=LATE), _role(owner, "cut")
    assert isinstance(node.feed(attached(forged, endorsed(thief, forged))), Recorded)
    node.accept(root.interact(recovery.seal).raw, recovery.raw)
    assert isinstance(node.feed(attached(raw, endorsed(owner, raw))), Recorded)
    assert _statements(node) == [EndRole(owner.aid, "watcher", ENDPOINT.aid, allowed=False)]


def test_statements_under_other_keys_stay() -> None:
    """A statement replaces only one of the same key."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    for raw, signed in (
        (_role(author), endorsed(author, _role(author))),
        (_location(), coupled(ENDPOINT, _location())),
    ):
        node.feed(attached(raw, signed))
    assert len(_statements(node)) == 2


# Key state notices.


def _notice(author: Author, **changes: object) -> bytes:
    fields = state_fields(author.state, 0, STAMP) | changes
    return routed("rpy", r=f"/ksn/{ENDPOINT.aid}", a=fields)


@pytest.mark.parametrize("known", [False, True])
def test_notice_is_recorded(*, known: bool) -> None:
    """A notice that agrees with the log, or is about an unknown log, is kept."""
    node, (author, log) = Node(), _author()
    if known:
        node.accept(log)
    raw = _notice(author)
    assert isinstance(node.feed(attached(raw, coupled(ENDPOINT, raw))), Recorded)


def test_notice_may_be_ahead_of_the_log() -> None:
    """A notice of a later state than the log has is kept."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    author.rotate()
    raw = _notice(author)
    assert isinstance(node.feed(attached(raw, coupled(ENDPOINT, raw))), Recorded)


def test_notice_behind_the_log_is_stale() -> None:
    """A notice of an earlier state than the log has is refused."""
    node, (author, log) = Node(), _author()
    raw = _notice(author)
    node.accept(log, author.rotate().raw)
    assert code_of(node.feed(attached(raw, coupled(ENDPOINT, raw)))) is ErrorCode.STALE


def test_notice_against_the_log_is_refused() -> None:
    """A notice of another event than the log holds contradicts it."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    raw = _notice(author, d=DIGEST)
    assert code_of(node.feed(attached(raw, coupled(ENDPOINT, raw)))) is ErrorCode.KEY_STATE


@pytest.mark.parametrize(
    "changes", [{"k": [KeyPair("evil").key.text]}, {"b": [ENDPOINT.aid]}, {"di": ENDPOINT.aid}]
)
def test_notice_with_other_fields_than_the_log_is_refused(changes: dict[str, object]) -> None:
    """A notice that names the right event and says something else about it is refused."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    raw = _notice(author, **changes)
    assert code_of(node.feed(attached(raw, coupled(ENDPOINT, raw)))) is ErrorCode.KEY_STATE
    assert not _statements(node)


def test_notice_of_a_state_behind_a_rotation_agrees() -> None:
    """A notice tells keys of the latest rotation, and the interaction behind it."""
    node, author = Node(), Author("any", keys=2, threshold=["1/2", "2/4"])
    node.accept(author.incept().raw, author.rotate().raw, author.interact().raw)
    raw = _notice(author, f="9", kt=["2/4", "1/2"])
    assert isinstance(node.feed(attached(raw, coupled(ENDPOINT, raw))), Recorded)


# Notices of a compromise.


def _lost(
    author: Author, generation: int, first_sn: int, *, place: int = 0, stamp: str = STAMP
) -> bytes:
    key = author.pairs(generation)[place].key
    attributes = {"i": author.aid, "k": key.text, "s": f"{first_sn:x}", "r": "stolen"}
    return routed("rpy", r="/keystead/key/compromise", a=attributes, dt=stamp)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("first_sn", [0, 1, 2])
def test_compromise_is_told_by_later_keys(first_sn: int, *, last: bool) -> None:
    """The keys that replaced a key tell from which of its events on it is compromised."""
    node, (author, log) = Node(), _author()
    node.accept(log, author.interact().raw, author.rotate().raw)
    raw = _lost(author, 0, first_sn)
    sign = signed_by_last if last else endorsed
    verdict = node.feed(attached(raw, sign(author, raw)))
    assert isinstance(verdict, Recorded)
    assert verdict.record.signer_sn == 2
    assert verdict.record.statement == KeyCompromise(
        author.aid, author.pairs(0)[0].key, first_sn, "stolen"
    )


def test_compromise_is_not_told_by_the_compromised_key() -> None:
    """Whoever stole a key can not speak about it, before and after it was replaced."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    raw = _lost(author, 0, 0)
    stolen = attached(raw, endorsed(author, raw))
    assert code_of(node.feed(stolen)) is ErrorCode.SIGNER
    node.accept(author.rotate().raw)
    assert code_of(node.feed(stolen)) is ErrorCode.SIGNER
    assert not _statements(node)


def test_compromise_is_not_told_by_keys_that_hold_the_key_still() -> None:
    """A rotation that keeps the compromised key says nothing about it."""
    kept, first, second, third = (KeyPair(name) for name in ("kept", "first", "second", "third"))
    begun = build.incept(plan([kept, first], "1", [second, third], "1"))
    state = state_after(begun, signatures(begun, [kept, first]))
    event = build.rotate(state, plan([second, kept], "1", [third], "1"))
    node = Node()
    node.accept(
        attached(begun.raw, controlled(*signatures(begun, [kept, first]))),
        attached(event.raw, controlled(*signatures(event, [second, kept]))),
    )
    attributes = {"i": state.aid, "k": kept.key.text, "s": "0", "r": ""}
    raw = routed("rpy", r="/keystead/key/compromise", a=attributes)
    signed = SignatureGroup(state.aid, 1, event.said, (second.indexed(raw, 0, 0),))
    endorsement = group(GroupKind.SIGNATURE_GROUPS, signed)
    assert code_of(node.feed(attached(raw, endorsement))) is ErrorCode.SIGNER


def test_compromise_is_not_told_by_earlier_keys() -> None:
    """Whoever stole old keys can not speak about newer ones."""
    node, (author, log) = Node(), _author()
    old = author.fork()
    node.accept(log, author.rotate().raw, author.rotate().raw)
    raw = _lost(author, 1, 1)
    assert code_of(node.feed(attached(raw, endorsed(old, raw)))) is ErrorCode.SIGNER


@pytest.mark.parametrize(("generation", "first_sn"), [(0, 2), (1, 0), (7, 0), (7, 1)])
def test_compromise_of_a_key_that_did_not_sign_there_is_refused(
    generation: int, first_sn: int
) -> None:
    """A notice names a key of the log, and a place where that key could sign, or the next."""
    node, (author, log) = Node(), _author()
    node.accept(log, author.rotate().raw, author.rotate().raw)
    raw = _lost(author, generation, first_sn)
    assert code_of(node.feed(attached(raw, endorsed(author, raw)))) is ErrorCode.KEY_STATE


def test_fixed_key_has_no_later_keys_to_tell_of_its_compromise() -> None:
    """A non-transferable identifier can not tell that its key is compromised."""
    attributes = {"i": ENDPOINT.aid, "k": ENDPOINT.key.text, "s": "0", "r": ""}
    raw = routed("rpy", r="/keystead/key/compromise", a=attributes)
    assert code_of(Node().feed(attached(raw, coupled(ENDPOINT, raw)))) is ErrorCode.SIGNER


def test_compromise_needs_the_threshold_of_the_later_keys() -> None:
    """A notice that too few of the later keys signed waits for the others."""
    node, (author, log) = Node(), _author(keys=2)
    node.accept(log, author.rotate().raw)
    raw = _lost(author, 0, 0)
    one, other = author.signatures(raw)
    verdict = node.feed(attached(raw, _group(author, one, last=False)))
    assert {missing.want for missing in missing_of(verdict)} == {Want.SIGNATURES}
    assert isinstance(node.feed(attached(raw, _group(author, other, last=False))), Recorded)


def test_compromise_waits_for_the_log() -> None:
    """A notice that comes ahead of the rotation that ended the key waits for it."""
    node, (author, log) = Node(), _author()
    rotation = author.rotate().raw
    raw = _lost(author, 0, 0)
    assert isinstance(node.feed(attached(raw, endorsed(author, raw))), Waits)
    node.accept(log)
    assert isinstance(node.results(rotation)[1].verdict, Recorded)


def test_compromise_told_by_later_keys_replaces_what_earlier_ones_told() -> None:
    """Of two notices on one key that of the later keys counts, whatever their times."""
    node, (author, log) = Node(), _author()
    node.accept(log, author.rotate().raw)
    early, old = _lost(author, 0, 0, stamp=LATE), author.fork()
    assert isinstance(node.feed(attached(early, endorsed(old, early))), Recorded)
    node.accept(author.rotate().raw)
    late = _lost(author, 0, 1)
    assert isinstance(node.feed(attached(late, endorsed(author, late))), Recorded)
    stale = _lost(author, 0, 0, stamp="2027-01-02T03:04:05.000000+00:00")
    assert code_of(node.feed(attached(stale, endorsed(old, stale)))) is ErrorCode.STALE
    (statement,) = _statements(node)
    assert isinstance(statement, KeyCompromise)
    assert statement.first_sn == 1


# Bounds on what is kept.


def _fed_locations(node: Node, *pairs: KeyPair, scheme: str = "http", url: str = "") -> list[Any]:
    """Have endpoints tell where they are; return the verdicts."""
    verdicts = []
    for pair in pairs:
        attributes = {"eid": pair.aid, "scheme": scheme, "url": url}
        raw = routed("rpy", r="/loc/scheme", a=attributes, dt=LATE if url else STAMP)
        verdicts.append(node.feed(attached(raw, coupled(pair, raw))))
    return verdicts


def test_statements_are_bounded() -> None:
    """A statement beyond the bound is refused, one in the place of another is not."""
    node, (one, two, three) = Node(limits=Limits(records=2)), map(witness, "123")
    first, second, third = _fed_locations(node, one, two, three)
    assert isinstance(first, Recorded)
    assert isinstance(second, Recorded)
    assert code_of(third) is ErrorCode.RECORDS_FULL
    (again,) = _fed_locations(node, one, url="http://x")
    assert isinstance(again, Recorded)
    assert len(_statements(node)) == 2


def test_statements_of_one_signer_are_bounded() -> None:
    """One signer does not use up the room of others."""
    node, (one, two) = Node(limits=Limits(records_of_signer=1)), map(witness, "12")
    assert isinstance(_fed_locations(node, one)[0], Recorded)
    assert code_of(_fed_locations(node, one, scheme="tcp")[0]) is ErrorCode.RECORDS_FULL
    assert isinstance(_fed_locations(node, two)[0], Recorded)


def test_bytes_of_statements_are_bounded() -> None:
    """A statement that makes the kept ones too large is refused, also in the place of another."""
    node, (one, two) = Node(), map(witness, "12")
    _fed_locations(node, one, two)
    small = sum(record.size for record in node.store.records())
    node = Node(limits=Limits(records_bytes=small))
    assert all(isinstance(verdict, Recorded) for verdict in _fed_locations(node, one, two))
    assert code_of(_fed_locations(node, witness("3"))[0]) is ErrorCode.RECORDS_FULL
    assert code_of(_fed_locations(node, one, url="http://x")[0]) is ErrorCode.RECORDS_FULL
    assert len(_statements(node)) == 2


def test_attributes_that_mean_nothing_are_refused() -> None:
    """A statement does not carry what nobody reads into the store."""
    attributes = {"eid": ENDPOINT.aid, "scheme": "http", "url": "", "x": ["y" * 100]}
    raw = routed("rpy", r="/loc/scheme", a=attributes)
    assert code_of(Node().feed(attached(raw, coupled(ENDPOINT, raw)))) is ErrorCode.FIELDS


# Queries.


def _query(route: str, **parameters: object) -> bytes:
    return routed("qry", r=route, q=parameters)


@pytest.mark.parametrize("route", ["logs", "ksn", "mbx"])
def test_query_about_a_known_log_is_authentic(route: str) -> None:
    """Anybody who signs may ask about a log that is here."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    topics = {"topics": {"/receipt": 0}} if route == "mbx" else {}
    raw = _query(route, i=author.aid, src=ENDPOINT.aid, **topics)
    for signed in (endorsed(author, raw), signed_by_last(author, raw), coupled(ENDPOINT, raw)):
        verdict = node.feed(attached(raw, signed))
        assert isinstance(verdict, Authentic)
        assert verdict.message.raw == raw
        assert verdict.signer == (
            author.aid if signed.items[0] != ENDPOINT.couple(raw) else ENDPOINT.aid
        )


def test_query_may_have_several_signers() -> None:
    """Each signer of a query gets a verdict."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    raw = _query("logs", i=author.aid)
    results = node.results(attached(raw, coupled(ENDPOINT, raw), endorsed(author, raw)))
    signers = [result.verdict.signer for result in results if isinstance(result.verdict, Authentic)]
    assert signers == [ENDPOINT.aid, author.aid]


def test_unsigned_query_is_refused() -> None:
    """A query without signature is dropped."""
    author, _ = _author()
    assert code_of(Node().feed(_query("logs", i=author.aid))) is ErrorCode.UNSIGNED


@pytest.mark.parametrize(
    ("parameters", "sn"), [({}, 0), ({"s": "0"}, 0), ({"s": "5"}, 5), ({"fn": "3"}, 0)]
)
def test_query_waits_for_an_unknown_log(parameters: dict[str, str], sn: int) -> None:
    """A query about an unknown log waits for it."""
    author, _ = _author()
    raw = _query("logs", i=author.aid, **parameters)
    verdict = Node().feed(attached(raw, coupled(ENDPOINT, raw)))
    assert missing_of(verdict) == {Missing(Want.EVENT, author.aid, sn)}


def test_query_waits_for_the_place_asked_for() -> None:
    """A query for a place that the log has not reached waits, and is answered then."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    raw = _query("logs", i=author.aid, s="1")
    verdict = node.feed(attached(raw, coupled(ENDPOINT, raw)))
    assert missing_of(verdict) == {Missing(Want.EVENT, author.aid, 1)}
    assert isinstance(node.results(author.interact().raw)[1].verdict, Authentic)
    assert isinstance(node.feed(attached(raw, coupled(ENDPOINT, raw))), Authentic)


def test_query_waits_for_the_seal_asked_for() -> None:
    """A query for an anchored seal waits until an event holds it."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    seal = EventSeal(author.aid, 7, DIGEST)
    raw = _query("logs", i=author.aid, a=field_of(seal))
    verdict = node.feed(attached(raw, coupled(ENDPOINT, raw)))
    assert missing_of(verdict) == {Missing(Want.SEAL, author.aid, 7, DIGEST, author.aid)}
    assert isinstance(node.results(author.interact(seal).raw)[1].verdict, Authentic)
    assert isinstance(node.feed(attached(raw, coupled(ENDPOINT, raw))), Authentic)


@pytest.mark.parametrize(
    ("route", "changes", "code"),
    [
        ("", {}, ErrorCode.ROUTE),
        ("log", {}, ErrorCode.ROUTE),
        ("logs", {"i": None}, ErrorCode.PAYLOAD),
        ("logs", {"i": "nobody"}, ErrorCode.PAYLOAD),
        ("logs", {"src": "nobody"}, ErrorCode.PAYLOAD),
        ("logs", {"s": "01"}, ErrorCode.PAYLOAD),
        ("logs", {"s": 1}, ErrorCode.PAYLOAD),
        ("logs", {"fn": -1}, ErrorCode.PAYLOAD),
        ("logs", {"a": {"d": DIGEST}}, ErrorCode.PAYLOAD),
        ("logs", {"a": "x"}, ErrorCode.PAYLOAD),
        ("mbx", {}, ErrorCode.PAYLOAD),
        ("mbx", {"topics": []}, ErrorCode.PAYLOAD),
        ("mbx", {"topics": {"/receipt": "0"}}, ErrorCode.PAYLOAD),
        ("mbx", {"topics": {"/receipt": -1}}, ErrorCode.PAYLOAD),
        ("mbx", {"topics": {"/receipt": True}}, ErrorCode.PAYLOAD),
    ],
)
def test_malformed_query_is_refused(route: str, changes: dict[str, Any], code: ErrorCode) -> None:
    """A signed query with an unknown route or malformed parameters is invalid."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    raw = _query(route, **({"i": author.aid} | changes))
    assert code_of(node.feed(attached(raw, coupled(ENDPOINT, raw)))) is code


def test_query_without_an_identifier_is_refused() -> None:
    """A query must name the identifier that it is about."""
    raw = _query("logs")
    verdict = Node().feed(attached(raw, coupled(ENDPOINT, raw)))
    assert code_of(verdict) is ErrorCode.PAYLOAD


def test_empty_anchor_is_none() -> None:
    """A query with an empty anchor asks for no seal."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    raw = _query("logs", i=author.aid, a={})
    assert isinstance(node.feed(attached(raw, coupled(ENDPOINT, raw))), Authentic)


def test_query_of_a_stranger_waits() -> None:
    """A query whose signer's log is not here waits for it."""
    node, (author, log) = Node(), _author()
    stranger, _ = _author("stranger")
    node.accept(log)
    raw = _query("logs", i=author.aid)
    verdict = node.feed(attached(raw, signed_by_last(stranger, raw)))
    assert missing_of(verdict) == {Missing(Want.EVENT, stranger.aid, 0)}


def test_query_of_a_stranger_may_be_answered() -> None:
    """A node that answers strangers says that the query is not authenticated."""
    node, (author, log) = Node(answer_strangers=True), _author()
    stranger, _ = _author("stranger")
    node.accept(log)
    raw = _query("logs", i=author.aid)
    verdict = node.feed(attached(raw, signed_by_last(stranger, raw)))
    assert isinstance(verdict, Unauthenticated)
    assert isinstance(verdict.message, Query)
    assert verdict.claimed_signer == stranger.aid


def test_query_of_a_stranger_about_an_unknown_log_waits() -> None:
    """What cannot be answered waits also for a node that answers strangers."""
    node, (author, log) = Node(answer_strangers=True), _author()
    stranger, _ = _author("stranger")
    raw = _query("logs", i=author.aid)
    verdict = node.feed(attached(raw, signed_by_last(stranger, raw)))
    assert missing_of(verdict) == {Missing(Want.EVENT, author.aid, 0)}
    assert isinstance(node.results(log)[1].verdict, Unauthenticated)


# Exchanges, and messages that are only authenticated.


def _exchange(author: Author, **values: object) -> bytes:
    return routed("exn", i=author.aid, **values)


def test_exchange_of_its_sender_is_authentic() -> None:
    """An exchange is signed by its sender."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    raw = _exchange(author)
    verdict = node.feed(attached(raw, endorsed(author, raw)))
    assert isinstance(verdict, Authentic)
    assert verdict.signer == author.aid
    assert (verdict.signer_sn, verdict.signer_said) == (0, author.state.said)
    assert verdict.latest


def test_exchange_by_retired_keys_is_told() -> None:
    """The verdict names the establishment event that signed, and that it is not the latest."""
    node, (author, log) = Node(), _author()
    raw = _exchange(author)
    inception, signed = author.state.said, attached(raw, endorsed(author, raw))
    node.accept(log, author.rotate().raw, author.interact().raw)
    verdict = node.feed(signed)
    assert isinstance(verdict, Authentic)
    assert (verdict.signer_sn, verdict.signer_said) == (0, inception)
    assert not verdict.latest


@pytest.mark.parametrize("last", [False, True])
def test_exchange_by_the_latest_keys_is_told(*, last: bool) -> None:
    """Keys stay the latest while only interactions follow, however the signature names them."""
    node, (author, log) = Node(), _author()
    rotation = author.rotate()
    node.accept(log, rotation.raw, author.interact().raw)
    raw = _exchange(author)
    signed = signed_by_last(author, raw) if last else endorsed(author, raw)
    verdict = node.feed(attached(raw, signed))
    assert isinstance(verdict, Authentic)
    assert (verdict.signer_sn, verdict.signer_said) == (1, rotation.event.said)
    assert verdict.latest


def test_fixed_key_of_an_exchange_is_always_the_latest() -> None:
    """A non-transferable signer has no establishment event to name."""
    raw = routed("exn", i=ENDPOINT.aid)
    verdict = Node().feed(attached(raw, coupled(ENDPOINT, raw)))
    assert isinstance(verdict, Authentic)
    assert (verdict.signer_sn, verdict.signer_said, verdict.latest) == (None, None, True)


def test_exchange_of_somebody_else_is_refused() -> None:
    """Nobody else may sign an exchange."""
    node, (author, log) = Node(), _author()
    other, other_log = _author("other")
    node.accept(log, other_log)
    raw = _exchange(author)
    assert code_of(node.feed(attached(raw, endorsed(other, raw)))) is ErrorCode.SIGNER


def test_exchange_with_its_payload_is_authentic() -> None:
    """An ESSR payload that fits its digest is fine."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    raw = _exchange(author, a=digest(b"secret"))
    payload = group(GroupKind.ESSR_PAYLOAD, b"secret")
    assert isinstance(node.feed(attached(raw, endorsed(author, raw), payload)), Authentic)


@pytest.mark.parametrize("payload", [None, b"other"])
def test_exchange_without_its_payload_is_refused(payload: bytes | None) -> None:
    """An ESSR payload that is missing, or another, is refused."""
    author, _ = _author()
    raw = _exchange(author, a=digest(b"secret"))
    groups = [] if payload is None else [group(GroupKind.ESSR_PAYLOAD, payload)]
    verdict = Node().feed(attached(raw, endorsed(author, raw), *groups))
    assert code_of(verdict) is ErrorCode.PAYLOAD


@pytest.mark.parametrize("message_type", ["pro", "bar"])
def test_other_messages_are_authenticated(message_type: str) -> None:
    """Prods and bare messages are authenticated for whoever signs them."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    raw = routed(message_type)
    assert isinstance(node.feed(attached(raw, endorsed(author, raw))), Authentic)


def test_message_that_waits_is_authenticated_later() -> None:
    """An exchange of an unknown sender waits for its log."""
    node, (author, log) = Node(), _author()
    raw = _exchange(author)
    assert isinstance(node.feed(attached(raw, endorsed(author, raw))), Waits)
    results = node.results(log)
    assert isinstance(results[0].verdict, Accepted)
    assert isinstance(results[1].verdict, Authentic)


def test_other_seals_do_not_answer_a_query() -> None:
    """An event with another seal leaves the query waiting."""
    node, (author, log) = Node(), _author()
    node.accept(log)
    raw = _query("logs", i=author.aid, a=field_of(EventSeal(author.aid, 7, DIGEST)))
    node.feed(attached(raw, coupled(ENDPOINT, raw)))
    assert len(node.results(author.interact(DigestSeal(DIGEST)).raw)) == 1
    assert len(list(node.store.waiting())) == 1
