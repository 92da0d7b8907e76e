"""How commands collect receipts of witnesses: for how long, from whom, and what they tell of it."""

import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from keystead.cli.fetching import Network, network_options
from keystead.cli.output import ExitCode, say, say_error

if TYPE_CHECKING:
    from keystead.cesr.keys import Aid, Said
    from keystead.owner.wallet import Wallet
    from keystead.owner.witnessing import Collected
    from keystead.ports.transport import Transport

Result = TypeVar("Result")

DEFAULT_TIMEOUT: Final = 30.0
_LONGEST: Final = 24 * 60 * 60.0
_QUICK_TRIES: Final = 2  # less than a second
_PAUSE: Final = 0.01  # seconds that are waited at least
# Seconds that are still waited when there are enough receipts: whoever is quick gets all done now,
# and who is not is left to the outbox.
_GRACE: Final = 1.0


class Collecting(msgspec.Struct, frozen=True):
    """How a command collects receipts.

    Attributes:
        timeout: seconds to wait at most; 0 asks nobody.
        network: whom it may reach.
    """

    timeout: float
    network: Network


def timeout_option(command: Callable[..., Result]) -> Callable[..., Result]:
    """Give a command the option `--timeout`."""
    return click.option(
        "--timeout",
        type=click.FloatRange(0, _LONGEST),
        default=DEFAULT_TIMEOUT,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for witnesses.",
    )(command)


def collecting_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Give a command the options on receipts, as one argument `collecting`."""

    @timeout_option
    @click.option(
        "--no-wait", is_flag=True, help="Ask no witness now: keystead outbox run does it later."
    )
    @network_options
    @wraps(command)
    def with_collecting(*args: Any, **options: Any) -> Result:  # noqa: ANN401 - of any command
        timeout = options.pop("timeout")
        patience = 0.0 if options.pop("no_wait") else timeout
        options["collecting"] = Collecting(patience, options.pop("network"))
        return command(*args, **options)

    return with_collecting


def find_witnesses(
    wallet: "Wallet", texts: Sequence[str], collecting: Collecting
) -> "tuple[Aid, ...]":
    """Return who is meant by URLs and identifiers of witnesses.

    Raises:
        KeysteadError: as `find_witness`.
    """
    if not texts:
        return ()
    from keystead.owner.introducing import find_witness  # noqa: PLC0415 - for --help

    transport = collecting.network.transport()
    return tuple(find_witness(wallet, transport, text) for text in texts)


def collect_for(wallet: "Wallet", aid: str, collecting: Collecting) -> ExitCode:
    """Collect receipts until the last event of an identifier has enough, or time is up.

    Returns:
        How the command ends: waiting, if it was to wait and there are still too few; invalid, if
        another event was published for the place.
    """
    from keystead.owner.witnesses import find_shown, latest  # noqa: PLC0415 - for --help

    record = wallet.identifier(aid)
    last = latest(wallet, record)
    if not last.witnesses and not _has_work(wallet, record.aid, last.event.sn):
        return ExitCode.DONE

    def enough() -> bool:
        now = find_shown(wallet, record.aid, last.event.said)
        return now is not None and now.is_witnessed

    def settled() -> bool:
        return enough() or _is_shut_out(wallet, record.aid, last.event.said)

    if collecting.timeout:
        run_until(
            wallet,
            collecting.network.transport(),
            record.aid,
            patience=patience_for(collecting.timeout, settled),
            done=lambda: settled() and not _comes_soon(wallet, record.aid),
        )
    if not collecting.timeout:
        return ExitCode.DONE
    tell_misuse(wallet, record.aid)
    if enough():
        tell_shut_out(wallet, record.aid)
        return ExitCode.DONE
    tell_waiting(wallet, record.aid, last.event.said)
    # To wait for witnesses that hold another event is of no use.
    return ExitCode.INVALID if wallet.identifier(aid).forked else ExitCode.WAITING


def run_until(
    wallet: "Wallet",
    transport: "Transport",
    aid: "Aid | None",
    *,
    patience: Callable[[], float],
    done: Callable[[], bool],
    at_once: bool = False,
) -> "Collected":
    """Do the work of the outbox until it is done or time is up.

    Args:
        wallet: whose.
        transport: carries it.
        aid: of this identifier only.
        patience: tells for how many seconds more to wait.
        done: tells whether that is enough.
        at_once: try also what should wait, the first time.
    """
    from keystead.owner.witnessing import collect  # noqa: PLC0415 - for --help

    while True:
        collected = collect(wallet, transport, aid=aid, at_once=at_once, patience=patience)
        at_once = False
        left = patience()
        if collected.next_at is None or left <= 0 or done():
            return collected
        pause = max(_PAUSE, (collected.next_at - wallet.now()).total_seconds())
        if pause >= left:
            return collected
        time.sleep(pause)


def patience_for(timeout: float, enough: Callable[[], bool] = lambda: False) -> Callable[[], float]:
    """Return what tells for how many seconds more to wait: not for long when there is enough.

    Args:
        timeout: seconds from now, at most.
        enough: tells whether there is enough.
    """
    end = time.monotonic() + timeout

    def patience() -> float:
        nonlocal end
        now = time.monotonic()
        if end - now > _GRACE and enough():
            end = now + _GRACE
        return end - now

    return patience


def tell_waiting(wallet: "Wallet", aid: "Aid", said: "Said") -> None:
    """Say that an event has too few receipts, why, and how to go on."""
    import shlex  # noqa: PLC0415 - for --help

    from keystead.errors import ErrorCode  # noqa: PLC0415 - for --help
    from keystead.owner.outbox import find_outgoing  # noqa: PLC0415 - for --help
    from keystead.owner.witnesses import find_shown  # noqa: PLC0415 - for --help

    shown = find_shown(wallet, aid, said)
    if shown is None:
        return
    record = wallet.identifier(aid)
    sn, name = shown.event.sn, record.name
    work = find_outgoing(wallet, aid, sn)
    for one in () if work is None else work.deliveries:
        if one.detail and one.code not in (ErrorCode.NOT_ADMITTED, ErrorCode.KEY_MISUSED):
            say(f"witness {one.witness}: {one.detail} [{one.code}]")
    tell_shut_out(wallet, aid)
    told = f"{len(shown.receipted)} of the {shown.threshold} receipts"
    hint = f"the event stands here; go on with: keystead outbox run {shlex.quote(name)}"
    if record.forked:
        hint = (
            "another event was published for this place: another copy of this wallet was used, or"
            f" somebody has your keys; see: keystead id reconcile {shlex.quote(name)} --help"
        )
    say_error(f"event {sn:x} of {name} has {told} that it needs", hint)


def tell_misuse(wallet: "Wallet", aid: "Aid | None") -> None:
    """Say where somebody else signed with keys that a rotation replaced."""
    from keystead.errors import HINTS, ErrorCode  # noqa: PLC0415 - for --help
    from keystead.owner.outbox import submissions  # noqa: PLC0415 - for --help

    for work in submissions(wallet, aid):
        for one in work.deliveries:
            if one.code == ErrorCode.KEY_MISUSED:
                what = f"event {work.sn:x} of {wallet.identifier(work.aid).name}"
                told = f"witness {one.witness} and {what}: {one.detail} [{one.code}]"
                say_error(told, HINTS[ErrorCode.KEY_MISUSED])


def tell_shut_out(wallet: "Wallet", aid: "Aid") -> None:
    """Say which witnesses do not let an identifier in, and what to do."""
    import shlex  # noqa: PLC0415 - for --help

    from keystead.errors import ErrorCode  # noqa: PLC0415 - for --help
    from keystead.owner.outbox import submissions  # noqa: PLC0415 - for --help

    found = {
        one.witness: f"witness {one.witness}: {one.detail} [{one.code}]"
        for work in submissions(wallet, aid)
        for one in work.deliveries
        if one.code == ErrorCode.NOT_ADMITTED
    }
    for line in found.values():
        say(line)
    if found:
        name = shlex.quote(wallet.identifier(aid).name)
        say(f"ask its operator to let the identifier in; then: keystead outbox run {name} --now")
        say(f"or for an invitation; then: keystead outbox run {name} --invitations FILE")


def _is_shut_out(wallet: "Wallet", aid: "Aid", said: "Said") -> bool:
    """Tell whether an event cannot get enough receipts while witnesses do not let it in."""
    from keystead.errors import ErrorCode  # noqa: PLC0415 - for --help
    from keystead.owner.outbox import submissions  # noqa: PLC0415 - for --help
    from keystead.owner.witnesses import find_shown  # noqa: PLC0415 - for --help

    shown = find_shown(wallet, aid, said)
    closed = {
        one.witness
        for work in submissions(wallet, aid)
        for one in work.deliveries
        if one.code == ErrorCode.NOT_ADMITTED
    }
    return shown is not None and len(set(shown.witnesses) - closed) < shown.threshold


def _comes_soon(wallet: "Wallet", aid: "Aid") -> bool:
    """Tell whether a witness answered that has only to be asked again, as one that is new."""
    from keystead.errors import ErrorCode  # noqa: PLC0415 - for --help
    from keystead.owner.outbox import submissions  # noqa: PLC0415 - for --help

    return any(
        one.code == ErrorCode.ANSWER and one.attempts <= _QUICK_TRIES
        for work in submissions(wallet, aid)
        for one in work.deliveries
    )


def _has_work(wallet: "Wallet", aid: "Aid", sn: int) -> bool:
    """Tell whether an event without witnesses has to be shown to some that it removes."""
    from keystead.owner.outbox import find_outgoing  # noqa: PLC0415 - for --help

    work = find_outgoing(wallet, aid, sn)
    return work is not None and bool(work.deliveries)
