"""`keystead status`: how the wallet is, as far as that can be told, and what to do next."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import fields

from keystead.cli import status as subject
from keystead.cli.secrets import SecretSource
from keystead.cli.status import Status
from keystead.cli.wallets import WalletPlace, open_wallet
from keystead.custody.cryptoperiods import Notice
from keystead.owner.identifiers import create
from keystead.owner.plans import Creation
from keystead.owner.wallet import Wallet
from support.machines import PHRASE, Machine, machine

FIELDS = [*(field.name for field in fields(Status)), "next"]


@pytest.fixture(name="mine")
def _mine(tmp_path: Path) -> Iterator[Machine]:
    mine = machine(tmp_path)
    mine.init()
    yield mine
    mine.run("lock")


@contextmanager
def _wallet(mine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wallet]:
    """Open the wallet in this process."""
    monkeypatch.setenv("KEYSTEAD_STATE", mine.environment["KEYSTEAD_STATE"])
    given = SecretSource(file=str(mine.file(PHRASE)))
    with open_wallet(WalletPlace(mine.home, given)) as wallet:
        yield wallet


def _json(mine: Machine, phrase: str | None = None) -> dict[str, object]:
    ran = mine.run("status", "--json", phrase=phrase)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert isinstance(found, dict)
    return found


def test_a_new_wallet(mine: Machine) -> None:
    """Everything is told of a wallet that is open, in the order that is documented."""
    assert _json(mine, PHRASE) == {
        "home": str(mine.home),
        "unlocked": False,
        "seconds_left": None,
        "identifiers": 0,
        "outbox": 0,
        "pending": [],
        "unreconciled": [],
        "witnessing": 0,
        "unwitnessed": [],
        "current": True,
        "notices": [],
        "next": "keystead id create NAME",
    }
    assert list(_json(mine)) == FIELDS


def test_a_locked_wallet(mine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the passphrase only numbers are told, and no name."""
    with _wallet(mine, monkeypatch) as wallet:
        create(wallet, "alice in the attic", Creation())
    found = _json(mine)
    assert (found["identifiers"], found["outbox"]) == (1, 1)
    assert all(found[name] is None for name in ("pending", "unreconciled", "current", "notices"))
    ran = mine.run("status")
    assert "locked" in ran.out
    assert "alice" not in ran.out
    assert "next         keystead id export" in ran.out


def test_an_unlocked_wallet(mine: Machine) -> None:
    """While the wallet is unlocked no passphrase is asked for."""
    assert mine.run("unlock", "--for", "2m", phrase=PHRASE).code == 0
    found = _json(mine)
    assert found["unlocked"] is True
    assert isinstance(found["seconds_left"], int)
    assert 100 <= found["seconds_left"] <= 120
    assert found["notices"] == []
    assert "unlocked, locks after 1" in mine.run("status").out


def test_a_delegated_identifier_waits(mine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for its delegator is told by its name, with what to do."""
    with _wallet(mine, monkeypatch) as wallet:
        delegator = create(wallet, "above", Creation()).aid
        create(wallet, "below 🔑", Creation(delegator=delegator))
    found = _json(mine, PHRASE)
    assert found["pending"] == ["below 🔑"]
    assert found["next"] == "keystead delegation request 'below 🔑'"
    assert "below 🔑: for its delegator" in mine.run("status", phrase=PHRASE).out


def test_a_copy_on_another_machine(mine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wallet whose marks are not here has to be compared with its published logs."""
    with _wallet(mine, monkeypatch) as wallet:
        create(wallet, "alice", Creation())
    shutil.rmtree(mine.folder / "state")
    found = _json(mine, PHRASE)
    assert found["current"] is False
    assert found["unreconciled"] == ["alice"]
    assert found["next"] == "keystead id reconcile NAME --log FILE"
    assert "alice: compare it with its published log" in mine.run("status", phrase=PHRASE).out


def test_an_empty_copy(mine: Machine) -> None:
    """A copy without identifiers is told of too."""
    shutil.rmtree(mine.folder / "state")
    assert _json(mine, PHRASE)["current"] is False
    assert "not the latest copy" in mine.run("status", phrase=PHRASE).out


def _status_at(mine: Machine, monkeypatch: pytest.MonkeyPatch, at: datetime) -> list[Notice]:
    """Return the notices that are given at a time."""
    monkeypatch.setenv("KEYSTEAD_STATE", mine.environment["KEYSTEAD_STATE"])
    monkeypatch.setattr(subject, "now", lambda: at)
    arguments = ["--home", str(mine.home), "--passphrase-file", str(mine.file(PHRASE))]
    ran = CliRunner().invoke(subject.status, [*arguments, "--json"])
    assert ran.exit_code == 0, ran.output
    notices: list[Notice] = json.loads(ran.stdout)["notices"]
    shown = CliRunner().invoke(subject.status, arguments).stdout
    assert shown.count("notice  ") == len(notices)
    return notices


@pytest.mark.parametrize(("days", "count"), [(300, 0), (340, 2), (370, 2), (800, 4)])
def test_cryptoperiods(
    mine: Machine, monkeypatch: pytest.MonkeyPatch, days: int, count: int
) -> None:
    """Keys whose time is nearly up are told of: those of identifiers, and those of the wallet."""
    with _wallet(mine, monkeypatch) as wallet:
        create(wallet, "alice", Creation())
    at = datetime.now(UTC) + timedelta(days=days)
    assert len(_status_at(mine, monkeypatch, at)) == count


@pytest.mark.parametrize("year", [1970, 2100])
def test_a_wrong_clock(mine: Machine, monkeypatch: pytest.MonkeyPatch, year: int) -> None:
    """A clock that is wrong gives notices, not a failure."""
    assert _status_at(mine, monkeypatch, datetime(year, 1, 1, tzinfo=UTC))


def test_a_wrong_passphrase(mine: Machine) -> None:
    """Whoever gives a passphrase gives the right one."""
    ran = mine.run("status", phrase="wrong")
    assert ran.code == 1
    assert "[keystore.passphrase]" in ran.err
    assert ran.out == ""


@pytest.mark.checkout
def test_the_fields_are_documented() -> None:
    """The page on JSON lists the fields in the order of the output."""
    page = (Path(__file__).parents[2] / "docs" / "json.md").read_text("utf-8")
    section = page.split("## keystead status --json\n")[1].split("\n## ")[0]
    listed = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert listed == [*FIELDS, *(field.name for field in fields(Notice))]
