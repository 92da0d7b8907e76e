"""`keystead log watch`: look out for events of an identifier, above all for those one did not make."""

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from keystead.cli.fetching import Network, network_options
from keystead.cli.log_state import seconds
from keystead.cli.output import ExitCode, printable, say, say_error
from keystead.cli.wallets import WalletPlace, now, open_store, open_wallet, wallet_options
from keystead.errors import ErrorCode, KeysteadError, TransportError, UsageError

if TYPE_CHECKING:
    from keystead.cesr.keys import Aid
    from keystead.node.lookout import Lookout, Sighting
    from keystead.ports import EventStore
    from keystead.ports.transport import Transport
    from keystead.ports.watching import Source

_TYPES: Final = {"rot": "rotation", "drt": "rotation", "ixn": "interaction", "": "event"}
_LONGEST_WAIT: Final = 8.0  # a call ends after ten seconds
_ADVICE: Final = (
    (
        "If you made it with another copy of this wallet: get the log and take it over with:"
        " keystead id reconcile {name} --log FILE"
    ),
    (
        "If you did not: somebody has keys of yours. Rotate at once: keystead id rotate {name}"
        " (that takes foreign interactions back, and cuts off who has the current keys)"
    ),
    "Then say which key is compromised: keystead key compromise KEY, and tell those who rely on it",
    (
        "If the foreign event is a rotation that is accepted, your next keys are known too: do not go"
        " on with this identifier"
    ),
)


@click.command(
    epilog="""\b
Examples:
  keystead log watch --own --once                 is there anything I did not sign?
  keystead log watch alice --for 1h --interval 30s
  keystead log watch --source https://w.example/oobi/AID/witness/EID --once
  keystead log watch AID --watcher https://watcher.example --json

\b
Exit codes: 0 nothing that alarms, 3 a foreign event or duplicity, 5 no source could be reached."""
)
@click.argument("names", nargs=-1, metavar="[NAME|AID]...")
@click.option("--own", is_flag=True, help="All identifiers of the wallet.")
@click.option("--source", "sources", multiple=True, metavar="OOBI", help="Somebody who has a log.")
@click.option("--watcher", "watchers", multiple=True, metavar="[EID@]URL", help="A watcher to ask.")
@click.option("--for", "length", metavar="TIME", help="So long; otherwise until interrupted.")
@click.option("--interval", default="30s", show_default=True, metavar="TIME", help="Between looks.")
@click.option("--once", is_flag=True, help="Look once.")
@wallet_options
@network_options
@click.option("--json", "json_output", is_flag=True, help="One JSON object a line.")
def watch(  # noqa: PLR0913 - one for each option
    names: tuple[str, ...],
    *,
    own: bool,
    sources: tuple[str, ...],
    watchers: tuple[str, ...],
    length: str | None,
    interval: str,
    once: bool,
    place: WalletPlace,
    network: Network,
    json_output: bool,
) -> None:
    """Look out for new events, and warn of those of your own identifiers that you did not make.

    An identifier of the wallet is compared with the log in the wallet. The sources are its
    witnesses, as far as it is known where they are, and those that are given.
    """
    wait = seconds(interval) or 1.0
    end = None if length is None else time.monotonic() + (seconds(length) or 0.0)
    with ExitStack() as opened:
        wanted = _wanted(names, sources, place, opened, own=own)
        posts = [_post(one, sources, watchers) for one in wanted]
        if not posts:
            raise UsageError(ErrorCode.ARGUMENT, "name identifiers, or give --own or --source")
        transport, alarmed, reached = network.transport(), False, False
        while True:
            for post in posts:
                answered, found = post.look(transport)
                reached = reached or answered
                for one in found:
                    alarmed = alarmed or one.alarming
                    _tell(one, post.name, own=post.own, json_output=json_output)
            if once or (end is not None and time.monotonic() + wait > end):
                break
            _pause(posts, transport, wait)
    if not reached:
        raise TransportError(ErrorCode.UNREACHABLE, "no source gave a log")
    if once and not alarmed:
        say("nothing alarms")
    click.get_current_context().exit(ExitCode.INVALID if alarmed else ExitCode.DONE)


class _Post:
    """One identifier and where to look."""

    def __init__(
        self, name: str, lookout: "Lookout", sources: "Sequence[Source]", *, own: bool
    ) -> None:
        self.name = name
        self.own = own
        self._lookout = lookout
        self._sources = sources
        self._problems: dict[str, str] = {}
        self._heard: dict[str, int] = {}
        self._proven: set[str] = set()

    def look(self, transport: "Transport") -> "tuple[bool, list[Sighting]]":
        """Ask all sources; tell whether any gave the log, and what is new."""
        from keystead.node.watching import log_url  # noqa: PLC0415 - for --help
        from keystead.ports.transport import Call  # noqa: PLC0415 - as above

        aid = self._lookout.aid
        calls = [Call("GET", log_url(one, aid)) for one in self._sources]
        reached, found = False, []
        for place, answer in transport.call_all(calls):
            source = self._sources[place]
            try:
                body = _content(answer, source)
            except KeysteadError as error:
                self._note(source.url, str(error))
                continue
            intake, fresh = self._lookout.took(body, now())
            found += fresh
            if source.kind == "watcher":
                found += self._proofs(source, transport)
            reached = reached or intake.tip is not None
            self._note(source.url, "" if intake.served else "it has no event of the log")
        return reached, found

    def wait(self, transport: "Transport", seconds: float) -> bool | None:
        """Wait for a watcher to tell that something happened; None when no watcher answers.

        What it tells is only taken as a hint to look again.
        """
        from keystead.ports.transport import Call  # noqa: PLC0415 - for --help

        watchers = [one for one in self._sources if one.kind == "watcher"]
        calls = []
        for one in watchers:
            place = f"{one.url}/events?aid={self._lookout.aid}&wait={max(int(seconds), 1)}"
            after = self._heard.get(one.url)
            calls.append(Call("GET", place if after is None else f"{place}&after={after}"))
        quiet = None
        for at, answer in transport.call_all(calls):
            if isinstance(answer, TransportError) or answer.status != 200:  # noqa: PLR2004 - HTTP
                continue
            if heard := re.findall(rb"^id: ([0-9]{1,15})$", answer.body, re.MULTILINE):
                self._heard[watchers[at].url] = int(heard[-1])
                return True
            quiet = False
        return quiet

    def _proofs(self, source: "Source", transport: "Transport") -> "list[Sighting]":
        """Look at the proofs of duplicity that a watcher has, each once."""
        from keystead.ports.transport import Call  # noqa: PLC0415 - for --help

        aid, found = self._lookout.aid, []
        try:
            listed = transport.call(Call("GET", f"{source.url}/evidence/{aid}"))
            names = {str(one["other"]) for one in json.loads(_content(listed, source))["evidence"]}
            for name in sorted(names - self._proven):
                answer = transport.call(Call("GET", f"{source.url}/evidence/{aid}/{name}"))
                found += self._lookout.took(_content(answer, source), now())[1]
                self._proven.add(name)
        except KeysteadError as error:
            self._note(source.url, str(error))
        except (ValueError, LookupError, TypeError):
            self._note(source.url, "its list of proofs is malformed")
        return found

    def _note(self, url: str, problem: str) -> None:
        """Say what is wrong with a source, once."""
        if problem and self._problems.get(url) != problem:
            say(f"note: {url}: {problem}")
        self._problems[url] = problem


def _pause(posts: Sequence[_Post], transport: "Transport", seconds: float) -> None:
    """Wait until it is time to look again, or until a watcher has something to tell."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        # With several identifiers nobody waits for one of them alone.
        heard = posts[0].wait(transport, min(left, _LONGEST_WAIT)) if len(posts) == 1 else None
        if heard is None:
            time.sleep(left)
        elif heard:
            return


class _Wanted:
    """An identifier to look out for, and the owner's log if it is one's own."""

    def __init__(self, name: str, aid: "Aid", own: "EventStore | None") -> None:
        self.name = name
        self.aid = aid
        self.own = own


def _content(answer: Any, source: "Source") -> bytes:  # noqa: ANN401 - an answer or an error
    from keystead.node.attestation import HEADER, check_attestation  # noqa: PLC0415 - for --help
    from keystead.ports.watching import WATCHER  # noqa: PLC0415 - as above

    if isinstance(answer, TransportError):
        raise answer
    if answer.status != 200:  # noqa: PLR2004 - HTTP
        what = f"it answered with status {answer.status}"
        raise TransportError(ErrorCode.ANSWER, what)
    body: bytes = answer.body
    if source.kind == WATCHER and source.eid:
        check_attestation(source.eid, body, answer.headers.get(HEADER.lower(), ""))
    return body


def _wanted(
    names: Sequence[str], oobis: Sequence[str], place: WalletPlace, opened: ExitStack, *, own: bool
) -> list[_Wanted]:
    """Find the identifiers; the wallet is opened only as far as it is needed."""
    from keystead.cesr.keys import Aid, is_aid  # noqa: PLC0415 - for --help
    from keystead.cli.watcher import read_source  # noqa: PLC0415 - as above

    aids = [Aid(one) for one in names if is_aid(one)]
    aids += [aid for aid, _ in map(read_source, oobis)] if not names and not own else []
    found: dict[Aid, _Wanted] = {}
    if own or any(not is_aid(one) for one in names):
        wallet = opened.enter_context(open_wallet(place))
        listed = [wallet.identifier(one) for one in names if not is_aid(one)]
        for record in wallet.identifiers() if own else listed:
            found[record.aid] = _Wanted(record.name, record.aid, wallet.events)
        mine = {one.aid for one in wallet.identifiers()}
        for aid in aids:
            found.setdefault(aid, _Wanted(aid, aid, wallet.events if aid in mine else None))
        return list(found.values())
    events = opened.enter_context(_events(place))
    for aid in aids:
        known = events is not None and events.key_state(aid) is not None
        found[aid] = _Wanted(aid, aid, events if known else None)
    return list(found.values())


@contextmanager
def _events(place: WalletPlace) -> "Iterator[EventStore | None]":
    """Give the logs of the wallet, which need no passphrase; None if there is no wallet."""
    from keystead.errors import StoreError  # noqa: PLC0415 - for --help

    with ExitStack() as opened:
        events: EventStore | None = None
        try:
            events = opened.enter_context(open_store(place)).events
        except StoreError as error:
            if error.code is not ErrorCode.STORE_MISSING:
                raise
        yield events


def _post(wanted: _Wanted, oobis: Sequence[str], watchers: Sequence[str]) -> _Post:
    from keystead.cesr.keys import Aid  # noqa: PLC0415 - for --help
    from keystead.cli.log_state import read_watcher  # noqa: PLC0415 - as above
    from keystead.cli.watcher import read_source  # noqa: PLC0415 - as above
    from keystead.node.lookout import Lookout  # noqa: PLC0415 - as above
    from keystead.ports.watching import WATCHER, Source  # noqa: PLC0415 - as above
    from keystead.stores.memory import MemoryStore  # noqa: PLC0415 - as above

    found = [source for aid, source in map(read_source, oobis) if aid == wanted.aid]
    named = map(read_watcher, watchers)
    found += [Source(url, eid or Aid(""), WATCHER) for eid, url in named]
    if wanted.own is not None:
        found += _witnesses(wanted.own, wanted.aid)
    sources = list({one.url: one for one in reversed(found)}.values())
    if not sources:
        say(f"note: it is not known where witnesses of {wanted.name} are; give --source OOBI")
    lookout = Lookout(wanted.aid, MemoryStore(), wanted.own, now())
    return _Post(wanted.name, lookout, sources, own=wanted.own is not None)


def _witnesses(events: "EventStore", aid: "Aid") -> "Iterator[Source]":
    """Give the witnesses of an identifier whose places are known."""
    from keystead.keri.oobi import parse_base  # noqa: PLC0415 - for --help
    from keystead.limits import DEFAULT_LIMITS  # noqa: PLC0415 - as above
    from keystead.owner.discovery import locations  # noqa: PLC0415 - as above
    from keystead.ports.watching import WITNESS, Source  # noqa: PLC0415 - as above

    state = events.key_state(aid)
    for eid in () if state is None else state.establishment.witnesses:
        for url in locations(events, eid)[:1]:
            yield Source(parse_base(url.rstrip("/"), DEFAULT_LIMITS), eid, WITNESS)


def _tell(one: "Sighting", name: str, *, own: bool, json_output: bool) -> None:
    if json_output:
        value = {
            "kind": one.sight.value,
            "name": name,
            "aid": one.aid,
            "sn": f"{one.sn:x}",
            "said": one.said,
            "type": one.message_type or None,
        }
        click.echo(json.dumps(value))
        return
    kind = _TYPES.get(one.message_type, one.message_type)
    if not one.alarming:
        click.echo(printable(f"{name}: event {one.sn:x} ({kind}) {one.said}"))
        return
    if not own:
        click.echo(printable(f"{name}: DUPLICITY at event {one.sn:x}: also {one.said} ({kind})"))
        return
    told = {
        "foreign": "was accepted",
        "foreign_version": "is another version of one that you made, and does not stand",
        "foreign_pending": "waits for receipts or an approval",
    }[one.sight.value]
    say_error(f"SOMEBODY ELSE SIGNED AS {name}: event {one.sn:x} ({kind}) {one.said} {told}")
    click.echo(printable(f"{name}: foreign event {one.sn:x} ({kind}) {one.said}"))
    for line in _ADVICE:
        say(line.format(name=name))
