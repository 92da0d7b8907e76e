"""`keystead token`: tokens that hold keys, such as smart cards and network HSMs."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from keystead.cli.asking import reason_option
from keystead.cli.id_options import ALGORITHMS, json_option
from keystead.cli.output import as_json, printable, say
from keystead.cli.secrets import SecretSource, read_secret, secret_options
from keystead.cli.wallets import WalletPlace, open_wallet, wallet_options
from keystead.errors import ErrorCode, KeystoreError, StoreError

if TYPE_CHECKING:
    from keystead.keystores.pkcs11 import TokenInfo
    from keystead.owner.wallet import TokenRecord, Wallet


@click.group(
    epilog="""\b
Examples:
  keystead token add office --module /usr/lib/softhsm/libsofthsm2.so --token office
  keystead token list
  keystead id create alice --token office

\b
See docs/tokens.md. A key in a token has no backup."""
)
def token() -> None:
    """Keep keys in a token, which makes them, signs with them, and never gives them out."""


@token.command(
    epilog="""\b
Examples:
  keystead token add office --module /usr/lib/softhsm/libsofthsm2.so --token office
                                                 asks for the PIN
  keystead token add office --module /usr/lib/softhsm/libsofthsm2.so --token office --pin-fd 3 3< FILE

\b
The PIN is tried once: tokens count wrong ones, and lock themselves. To tell a new PIN of a token
that is known already, add it again."""
)
@click.argument("name")
@click.option("--module", required=True, metavar="PATH", help="PKCS#11 library of the token.")
@click.option("--token", "label", required=True, metavar="LABEL", help="Label of the token.")
@click.option("--serial", default="", metavar="N", help="Serial number, if two have one label.")
@secret_options("pin")
@json_option
@wallet_options
def add(  # noqa: PLR0913 - one parameter for each option
    place: WalletPlace,
    name: str,
    *,
    module: str,
    label: str,
    serial: str,
    pin: SecretSource,
    json_output: bool,
) -> None:
    """Make a token known to the wallet, which then keeps its PIN sealed."""
    from keystead.keystores import pkcs11  # noqa: PLC0415 - for --help
    from keystead.owner import tokens as owner  # noqa: PLC0415 - as above
    from keystead.owner.wallet import TokenRecord  # noqa: PLC0415 - as above

    record = TokenRecord(name, module, label, serial)
    found = _found(pkcs11.list_tokens(module), record)
    algorithms = _algorithms(found)
    if not algorithms:
        what = f"the token {label} has none of the mechanisms that Keystead can use"
        raise KeystoreError(ErrorCode.MECHANISM, what, hint="see docs/tokens.md")
    with open_wallet(place) as wallet:
        owner.check_new(wallet, record)
        text = read_secret(pin, f"PIN of the token {printable(label)}: ")
        pkcs11.check_pin(module, label, serial, text.encode())
        known = owner.add_token(wallet, record, text)
        _overwrite(wallet)
    if json_output:
        click.echo(as_json({**_value(record, found), "known": known}))
    else:
        told = "has a new PIN for" if known else "knows"
        click.echo(f"the wallet {told} the token {printable(name)}: {', '.join(algorithms)}")
        click.echo(
            f"next: keystead id create NAME --token {printable(name)}{_algorithm(algorithms)}"
        )


@token.command(
    "list",
    epilog="""\b
Examples:
  keystead token list
  keystead token list --json""",
)
@json_option
@wallet_options
def list_tokens(place: WalletPlace, *, json_output: bool) -> None:
    """Show the tokens that the wallet knows, whether each is there, and what it can do."""
    from keystead.owner import tokens as owner  # noqa: PLC0415 - for --help

    with open_wallet(place) as wallet:
        known = owner.tokens(wallet)
        used = {one.name: len(owner.keys_in_use(wallet, one.name)) for one in known}
    values = [{**_value(one, _present(one)), "keys": used[one.name]} for one in known]
    if json_output:
        click.echo(as_json({"tokens": values}))
    elif not values:
        click.echo("there are no tokens; make one known with: keystead token add NAME")
    for one in () if json_output else values:
        click.echo(f"{printable(one['name'])}: {_standing(one)}")
        click.echo(f"  keys in use: {one['keys']}; {printable(one['label'])} at {one['module']}")


@token.command(
    epilog="""\b
Examples:
  keystead token remove office                   refused while identifiers have keys in it"""
)
@click.argument("name")
@reason_option
@json_option
@wallet_options
def remove(place: WalletPlace, name: str, *, reason: str, json_output: bool) -> None:
    """Forget a token and its PIN. What is in the token stays there."""
    from keystead.owner import tokens as owner  # noqa: PLC0415 - for --help

    with open_wallet(place) as wallet:
        owner.remove_token(wallet, name, reason=reason)
        _overwrite(wallet)
    if json_output:
        click.echo(as_json({"name": name, "removed": True}))
    else:
        click.echo(f"the wallet has forgotten the token {printable(name)}")


def _found(present: "Iterable[TokenInfo]", wanted: "TokenRecord") -> "TokenInfo":
    """Return the one token that is meant.

    Raises:
        KeystoreError: it is not there, or there are several (keystore.token).
    """
    there = list(present)
    found = [
        one for one in there if one.label == wanted.label and wanted.serial in ("", one.serial)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        what = f"{len(found)} tokens are called {wanted.label}"
        hint = f"name the serial number too: --serial {found[0].serial}"
        raise KeystoreError(ErrorCode.TOKEN, what, hint=hint)
    others = ", ".join(one.label for one in there) or "none"
    what = f"the token {wanted.label} is not there; those that are: {others}"
    raise KeystoreError(ErrorCode.TOKEN, what)


def _present(record: "TokenRecord") -> "TokenInfo | None":
    """Return a token if it is there."""
    from keystead.keystores import pkcs11  # noqa: PLC0415 - for --help

    try:
        return _found(pkcs11.list_tokens(record.module), record)
    except KeystoreError:
        return None


def _value(record: "TokenRecord", found: "TokenInfo | None") -> dict[str, Any]:
    return {
        "name": record.name,
        "module": record.module,
        "label": record.label,
        "serial": record.serial or (None if found is None else found.serial),
        "manufacturer": None if found is None else found.manufacturer,
        "present": found is not None,
        "algorithms": [] if found is None else _algorithms(found),
    }


def _algorithms(found: "TokenInfo") -> list[str]:
    return [name for name, suite in ALGORITHMS.items() if suite in found.suites]


def _algorithm(algorithms: list[str]) -> str:
    default = next(iter(ALGORITHMS))
    return "" if default in algorithms else f" --algorithm {algorithms[0]}"


def _standing(one: dict[str, Any]) -> str:
    if not one["present"]:
        return "not there"
    return f"there, can do {', '.join(one['algorithms']) or 'nothing that Keystead uses'}"


def _overwrite(wallet: "Wallet") -> None:
    """Overwrite a PIN that was replaced or forgotten."""
    from keystead.owner.shredding import finish_scrub  # noqa: PLC0415 - for --help

    try:
        finish_scrub(wallet)
    except StoreError:
        say("note: bytes of the PIN are still in the files; the next command overwrites them")
