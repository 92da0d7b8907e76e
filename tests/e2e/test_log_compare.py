"""`keystead log compare` as a process: two logs, and proofs made by `log verify`."""

import json
from pathlib import Path
from typing import Any

from keystead.cesr.keys import digest
from keystead.keri.seals import DigestSeal
from keystead.testing.authoring import Author, Signed, witness
from support.commands import keystead

OTHER = DigestSeal(digest(b"other"))


def _write(folder: Path, name: str, *made: Signed) -> Path:
    path = folder / f"{name}.cesr"
    path.write_bytes(b"".join(one.framed for one in made))
    return path


def _compared(*files: Path) -> tuple[int, dict[str, Any]]:
    done = keystead("log", "compare", "--json", *files)
    return done.returncode, json.loads(done.stdout)


def test_logs_that_agree_end_with_0(tmp_path: Path) -> None:
    """The same log, and an older copy of it."""
    author = Author("agreeing")
    log = [author.incept(), author.interact()]
    longer, older = _write(tmp_path, "longer", *log), _write(tmp_path, "older", log[0])
    code, value = _compared(longer, longer)
    assert (code, value["identifiers"][0]["relation"]) == (0, "equal")
    code, value = _compared(older, longer)
    assert (code, value["identifiers"][0]["relation"]) == (0, "second_is_longer")
    done = keystead("log", "compare", longer, older)
    assert b"the second is an older copy of the first" in done.stdout
    assert done.returncode == 0


def test_logs_that_fork_end_with_3(tmp_path: Path) -> None:
    """The place, both events and the meaning are told."""
    author = Author("forking", witnesses=[witness("one")])
    begun = author.incept()
    twin = author.fork()
    one = _write(tmp_path, "one", begun, author.rotate(), author.rotate())
    two = _write(tmp_path, "two", begun, twin.rotate(anchors=[OTHER]))
    code, value = _compared(one, two)
    assert code == 3
    (compared,) = value["identifiers"]
    assert (compared["relation"], compared["sn"]) == ("forked", "1")
    assert compared["findings"][0]["corrupt_witnesses"] == [witness("one").aid]
    done = keystead("log", "compare", one, two)
    assert b"two histories that cannot both be true" in done.stdout
    assert b"DUPLICITY" in done.stdout


def test_a_proof_made_by_verify_is_explained(tmp_path: Path) -> None:
    """`log verify --evidence` writes what `log compare` reads."""
    author = Author("proven")
    begun = author.incept()
    twin = author.fork()
    both = _write(tmp_path, "both", begun, author.interact(), twin.interact(OTHER))
    proof = tmp_path / "proof.cesr"
    assert keystead("log", "verify", "--evidence", proof, both).returncode == 3
    code, value = _compared(proof)
    assert code == 3
    assert value["observation"] is None
    assert value["findings"][0]["meaning"] == "current_keys"
    told = keystead("log", "compare", proof).stdout
    assert b"Nobody has signed when this was observed" in told
    # A file that holds both versions is duplicitous, whatever it is compared with.
    code, value = _compared(both, _write(tmp_path, "short", begun))
    assert code == 3
    assert value["findings"][0]["sn"] == "1"


def test_an_honest_log_is_no_proof(tmp_path: Path) -> None:
    """One file without a second version ends with 0."""
    path = _write(tmp_path, "honest", Author("honest").incept())
    done = keystead("log", "compare", path)
    assert done.returncode == 0
    assert b"the logs agree" in done.stdout


def test_files_without_a_common_identifier(tmp_path: Path) -> None:
    """They are told apart, and nothing is proven."""
    one = _write(tmp_path, "one", Author("first").incept())
    two = _write(tmp_path, "two", Author("second").incept())
    code, value = _compared(one, two)
    assert code == 0
    assert value["identifiers"] == []
    assert len(value["only_in_first"]) == len(value["only_in_second"]) == 1
    assert b"no identifier in common" in keystead("log", "compare", one, two).stdout


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    """Damaged, empty and missing files, and too many of them."""
    good = _write(tmp_path, "good", Author("good").incept())
    bad = tmp_path / "bad.cesr"
    bad.write_bytes(good.read_bytes()[:-1] + b"!")
    empty = tmp_path / "empty.cesr"
    empty.touch()
    for files, code in (
        ((bad,), 3),
        ((bad, good), 3),
        ((empty,), 3),
        ((good, empty), 3),
        ((tmp_path / "nowhere",), 2),
        ((good, good, good), 2),
    ):
        assert keystead("log", "compare", *files).returncode == code
