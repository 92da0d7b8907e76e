"""The story of the demonstration: two people, three witnesses, a watcher, and a thief."""

import json
import time
from collections.abc import Callable
from typing import Any, Final

from keystead.cli import demo_thief
from keystead.cli.demo_stage import FailedError, Person, Stage
from keystead.cli.demo_thief import StolenKey
from keystead.keystores.passphrase import generate_passphrase, normalized
from keystead.owner.documents import digest_of
from keystead.services.network import Node

_CONTRACT: Final = b"Alice rents Bob her boat for the summer of 2027, for 900 euros.\n"
_DEBT: Final = b"I, Alice, owe Mallory 10,000 euros.\n"
_PATIENCE: Final = 20.0  # seconds that the watcher may take to ask everybody
_CONFLICT: Final = 409


class Story:
    """The story; each step needs those before it."""

    def __init__(self, stage: Stage) -> None:
        """Begin with an empty stage."""
        self.stage = stage
        self.alice = stage.person("alice")
        self.bob = stage.person("bob")
        self.passphrases = {who.name: generate_passphrase() for who in (self.alice, self.bob)}
        self.aids: dict[str, str] = {}
        self._stolen: StolenKey | None = None

    @property
    def steps(self) -> tuple[Callable[[], None], ...]:
        """The steps, in order."""
        return (
            self.identifiers,
            self.introductions,
            self.challenges,
            self.document,
            self.watch,
            self.theft,
            self.cut_off,
            self.fork,
            self.outage,
            self.offline,
        )

    @property
    def witnesses(self) -> list[Node]:
        """The witnesses of the network."""
        return [one for one in self.stage.network.nodes.values() if one.kind == "witness"]

    @property
    def watcher(self) -> Node:
        """The watcher of the network."""
        return next(one for one in self.stage.network.nodes.values() if one.kind == "watcher")

    def identifiers(self) -> None:
        """Two wallets, two identifiers."""
        stage = self.stage
        with stage.step("Alice and Bob make identifiers"):
            stage.tell("Nobody registers them. The keys are made here; three witnesses sign for")
            stage.tell("what they see first, and two of them are enough.")
            for who in (self.alice, self.bob):
                stage.make_wallet(who, self.passphrases[who.name])
                chosen = [part for one in self.witnesses for part in ("--witness", one.url)]
                stage.run(who, "id", "create", who.name, *chosen, "--witness-threshold", "2")
                shown = stage.ask(who, "id", "show", who.name)
                self.aids[who.name] = shown["aid"]
                stage.verified(_receipts(shown) == len(self.witnesses),
                               f"all witnesses signed the first event of {who.name}")  # fmt: skip

    def introductions(self) -> None:
        """Each finds the log of the other, and verifies it."""
        stage = self.stage
        with stage.step("They exchange introductions (OOBIs)"):
            stage.tell(
                "An introduction is a link. It proves nothing: what it leads to is verified."
            )
            for who, other in ((self.bob, self.alice), (self.alice, self.bob)):
                link = stage.ask(other, "oobi", "show", other.name)["urls"][0]
                stage.run(who, "contact", "add", link, "--name", other.name)
                shown = stage.ask(who, "contact", "show", other.name)
                stage.verified(shown["aid"] == self.aids[other.name],
                               f"{who.name} has the log of {other.name}, signature by signature")  # fmt: skip

    def challenges(self) -> None:
        """Each shows the other that the keys are in their hands."""
        stage = self.stage
        with stage.step("They challenge each other"):
            stage.tell(
                "Bob reads twelve words to Alice on the phone; she signs them; and the other way."
            )
            for who, other in ((self.bob, self.alice), (self.alice, self.bob)):
                words = stage.ask(who, "contact", "challenge", other.name)["words"]
                answer = f"answer-of-{other.name}.cesr"
                stage.run(other, "contact", "respond", who.name, "--as", other.name,
                          "--words", " ".join(words), "-o", answer)  # fmt: skip
                stage.run(who, "contact", "verify", other.name, answer)
                stage.verified(True, f"{other.name} holds the keys of that log now")  # noqa: FBT003 - the command failed otherwise

    def document(self) -> None:
        """A signature that stays good after a rotation."""
        stage = self.stage
        with stage.step("Alice signs a contract, and replaces her keys"):
            stage.write("contract.txt", _CONTRACT)
            stage.run(self.alice, "sign", "contract.txt", "--as", "alice", "--anchor")
            self._refresh()
            stage.run(self.bob, "verify", "contract.txt")
            stage.tell("Keys are replaced from time to time, before they can be guessed or lost.")
            stage.run(self.alice, "id", "rotate", "alice")
            self._refresh()
            told = stage.run(self.bob, "verify", "contract.txt")
            stage.verified("valid" in told, "the signature by the replaced keys is good still:"
                           " her log anchors the contract before they were replaced")  # fmt: skip

    def watch(self) -> None:
        """A watcher follows Alice's log at all witnesses."""
        stage, watcher = self.stage, self.watcher
        with stage.step("A watcher follows Alice's log"):
            aid = self.aids["alice"]
            links = [f"{one.url}/oobi/{aid}/witness/{one.aid}" for one in self.witnesses]
            operator = Person("watcher", watcher.folder)
            stage.run(operator, "watcher", "add", "--home", str(watcher.folder), *links, quiet=True)
            asked = ("log", "state", aid, "--watcher", f"{watcher.aid}@{watcher.url}")
            self._until("the watcher to ask all witnesses", lambda: self._confirmed() == len(links))
            told = stage.run(self.bob, *asked)
            stage.verified(
                "agreed" in told, "it never says 'current': it says who confirmed what, and when"
            )

    def theft(self) -> None:
        """A thief with the current key signs, and it looks right."""
        stage = self.stage
        with stage.step("A thief reads Alice's key out of her machine, and signs with it"):
            passphrase = normalized(self.passphrases["alice"])
            self._stolen = demo_thief.steal(self.alice.home, passphrase, "alice")
            debt = stage.write("debt.txt", _DEBT)
            stage.write("debt.txt.sig", demo_thief.forge_document(self._stolen, _DEBT))
            stage.show(
                "mallory", f"reads one key out of memory; writes {debt.name} and {debt.name}.sig"
            )
            self._refresh()
            told = stage.run(self.bob, "verify", "debt.txt")
            stage.verified(
                "valid" in told, "it looks like Alice's signature: the thief has her key"
            )

    def cut_off(self) -> None:
        """A rotation ends what the thief can do."""
        stage = self.stage
        with stage.step("Alice rotates, and the thief is cut off"):
            state = self._mallory.state
            key = state.establishment.signing_keys[0].text
            stage.run(self.alice, "key", "compromise", key, "--since", f"{state.sn + 1:x}",
                      "--reason", "the laptop was searched", "--yes", quiet=True)  # fmt: skip
            stage.run(self.alice, "id", "rotate", "alice", "--reason", "the laptop was searched")
            stage.run(self.alice, "id", "export", "alice", "-o", "alice.cesr", quiet=True)
            stage.tell("The next key was never in use, so the thief could not read it anywhere.")
            told = stage.run(self.bob, "verify", "debt.txt", "--log", "alice.cesr", ends=3)
            stage.verified("not valid" in told or "compromise" in told,
                           "the debt is not Alice's: her log tells that the key was stolen")  # fmt: skip
            stage.run(self.bob, "verify", "contract.txt", "--log", "alice.cesr")
            stage.verified(True, "the contract still is: it was anchored before")  # noqa: FBT003 - the command failed otherwise

    def fork(self) -> None:
        """A thief with old keys makes another history; there is proof of it."""
        stage, watcher, stolen = self.stage, self.watcher, self._mallory
        with stage.step("The thief forks the log with the old key, and leaves evidence"):
            event, attachment = demo_thief.forge_event(stolen, digest_of([_DEBT]))
            answers = demo_thief.refusals([one.url for one in self.witnesses], event, attachment)
            for one in self.witnesses:
                stage.show(
                    "mallory",
                    f"POST {one.url}/receipts: another event for the place of the rotation",
                )
            stage.verified(
                set(answers) == {_CONFLICT}, "each witness refuses: it signs one event for a place"
            )
            place = f"{stolen.state.sn + 1:x}"
            self._until("the watcher to see the rotation", lambda: self._watched() == place)
            stream = stolen.log + event + attachment.encode()
            with demo_thief.publish(stolen.state.aid, stream) as url:
                stage.show("mallory", f"serves her version of the log at {url}")
                witness = self.witnesses[0].aid
                link = f"{url}/oobi/{stolen.state.aid}/witness/{witness}"
                operator = Person("watcher", watcher.folder)
                stage.run(
                    operator, "watcher", "add", "--home", str(watcher.folder), link, quiet=True
                )
                self._until("the watcher to find the fork", lambda: bool(self._evidence()))
            stage.write("evidence.cesr", self._bundle())
            told = stage.run(self.bob, "log", "compare", "evidence.cesr", ends=3)
            stage.verified(told, "anybody can check the evidence, without trusting the watcher")

    def outage(self) -> None:
        """One witness dies and comes back."""
        stage = self.stage
        with stage.step("A witness is killed, and comes back"):
            lost = self.witnesses[-1]
            assert lost.process is not None  # noqa: S101 - it runs
            stage.show("power cut", f"kill -KILL {lost.process.pid}")
            stage.network.stop(lost.name, kill=True)
            stage.tell(f"The witness {lost.name} is gone, without warning.")
            stage.run(self.alice, "id", "rotate", "alice", "--timeout", "3")
            shown = stage.ask(self.alice, "id", "show", "alice")
            stage.verified(_receipts(shown) >= 2, "two of three are enough: Alice goes on")  # noqa: PLR2004 - the threshold
            stage.network.start(lost.name)
            stage.tell(f"{lost.name} is back; what it missed waited in Alice's outbox.")
            stage.run(self.alice, "outbox", "run", "--now")
            shown = stage.ask(self.alice, "id", "show", "alice")
            stage.verified(_receipts(shown) == len(self.witnesses), "it has signed the event too")

    def offline(self) -> None:
        """Everything is verified with nobody to ask."""
        stage = self.stage
        with stage.step("Bob verifies everything offline"):
            stage.run(self.alice, "id", "export", "alice", "-o", "alice.cesr", quiet=True)
            stage.network.down()
            stage.tell(
                "All servers are stopped. Bob has files, and trusts none of them unverified."
            )
            stage.run(self.bob, "log", "verify", "alice.cesr")
            stage.run(self.bob, "verify", "contract.txt", "--log", "alice.cesr")
            stage.run(self.bob, "verify", "debt.txt", "--log", "alice.cesr", ends=3)
            stage.run(self.bob, "log", "compare", "evidence.cesr", ends=3)
            what = "log, contract, false debt and evidence of the fork: by bytes alone"
            stage.verified(True, what)  # noqa: FBT003 - the commands failed otherwise

    @property
    def _mallory(self) -> StolenKey:
        assert self._stolen is not None  # noqa: S101 - the theft comes first
        return self._stolen

    def _refresh(self) -> None:
        self.stage.run(self.bob, "contact", "refresh", "alice", quiet=True)

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        ends = time.monotonic() + _PATIENCE
        while not holds():
            if time.monotonic() > ends:
                raise FailedError(f"waited in vain for {what}")
            time.sleep(0.2)

    def _confirmed(self) -> int:
        state = self._asked(f"/state/{self.aids['alice']}")
        return int(json.loads(state)["confirmed_by"]) if state else 0

    def _watched(self) -> str:
        state = self._asked(f"/state/{self.aids['alice']}")
        return str(json.loads(state)["state"]["s"]) if state else ""

    def _evidence(self) -> list[Any]:
        found = self._asked(f"/evidence/{self.aids['alice']}")
        return list(json.loads(found)["evidence"]) if found else []

    def _bundle(self) -> bytes:
        return self._asked(self._evidence()[0]["bundle"])

    def _asked(self, path: str) -> bytes:
        from keystead.ports.transport import Call  # noqa: PLC0415 - for --help
        from keystead.transports.client import HttpTransport  # noqa: PLC0415 - as above
        from keystead.transports.guard import FetchPolicy  # noqa: PLC0415 - as above

        answer = HttpTransport(FetchPolicy.local()).call(Call("GET", self.watcher.url + path))
        return answer.body if answer.status == 200 else b""  # noqa: PLR2004 - OK


def _receipts(shown: Any) -> int:  # noqa: ANN401 - a report
    return int(shown["receipts"])
