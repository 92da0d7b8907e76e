"""Every bound on input from outside, in one place, each with its reason."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is read, kept and waited for. Sizes are in bytes.

    Attributes:
        body: size of one message body. The largest key event (256 keys, 256 digests, 64
            witnesses) has 26 KiB; the rest is room for messages that embed credentials.
        attachments: size of all attachments of one message. 256 KiB hold 2,900 signatures,
            more than all keys, witnesses and watchers of the largest event make together.
        depth: nesting of maps and lists in a body. Real credentials nest about ten deep;
            a parser that recurses must not run out of stack.
        members: entries of all maps and lists of a body together. Keeps the objects made from
            one body near ten times its size.
        keys: signing keys or next key digests of one event. One signature check costs 50 µs.
        witnesses: witnesses of one event, for the same reason.
        anchors: seals of one event. A batch of 1,024 is larger than any seen.
        nested_groups: levels of groups inside groups. KERI nests three.
        resync_work: bytes that may be decoded in vain for each byte of a stream. Keeps a stream
            of false starts linear in its length.
        held_events: versions of events that wait for one identifier. One flooded identifier
            must not push out the others.
        held_total: messages that wait in all.
        held_bytes: size of all that waits, as the objects in memory that it is (32 MiB). The
            estimate is rather too high; that of a body goes by its values.
        held_logs: parts into which the room is divided when there is too little. A log that takes
            more than one part makes room first, so that a flood under few identifiers pushes
            out nobody else.
        held_for: how long a message waits. Peers ask again well before 20 minutes.
        receipts: signatures by others than controller and witnesses kept for one event.
            Anybody can make them, so there must be an end; and with all of them, and all
            keys and witnesses, a replayed event still fits into `attachments`. Also the
            unverified signatures of each kind that wait with one event or message, of which one
            delivery adds no more than `keys`.
        evidence: duplicitous events kept for one identifier. One is enough to distrust it; a
            duplicitous controller can make any number.
        exchange: size of a request or an answer of a delegation (16 MiB), which are whole logs and
            are kept in memory. That is room for 10,000 events; a log of that length is years old.
        url: length of a URL or OOBI in a statement, and characters of a text that an owner
            gives, such as a reason. Common software takes no longer ones.
        records: statements of replies kept in all. Anybody can make signers and sign as them.
        records_of_signer: statements kept of one signer. More than the witnesses, watchers and
            agents of the largest group; one signer must not use up the room of all.
        records_bytes: size of the replies that are kept (64 MiB).
        signers: identifiers whose signatures on one routed message are looked at, and
            establishment events that endorsements of one event wait for. Each arrival of one
            costs another look at what waits, and a message waits once for each signer.
        delegation_depth: levels of delegation walked by rule C of superseding recovery.
    """

    body: int = 256 * 1024
    attachments: int = 256 * 1024
    depth: int = 32
    members: int = 4096
    keys: int = 256
    witnesses: int = 64
    anchors: int = 1024
    nested_groups: int = 4
    resync_work: int = 8
    held_events: int = 64
    held_total: int = 100_000
    held_bytes: int = 32 * 1024 * 1024
    held_logs: int = 64
    held_for: timedelta = timedelta(minutes=20)
    receipts: int = 768
    evidence: int = 16
    exchange: int = 16 * 1024 * 1024
    url: int = 2048
    records: int = 100_000
    records_of_signer: int = 1024
    records_bytes: int = 64 * 1024 * 1024
    signers: int = 16
    delegation_depth: int = 8

    @property
    def ordinary_body(self) -> int:
        """Size up to which a key event keeps all other limits, whatever it holds.

        The shortest entry of a list is a digest of 44 characters, with its quotes 46.
        """
        if self.depth < 3:  # noqa: PLR2004 - the event, its list of seals, a seal
            return 0
        return min(46 * min(self.keys, self.witnesses, self.anchors), self.members)


DEFAULT_LIMITS = Limits()
