"""Marks behave as a table that never goes back, whatever is left behind their end."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystead.cesr.keys import Aid
from keystead.errors import ErrorCode, KeystoreError
from keystead.ports.keys import Mark
from support.marks import ALICE, BOB, mark, new_marks, opened, wins

AIDS = st.sampled_from([ALICE, BOB])
MARKS = st.builds(
    mark, st.integers(0, 5), AIDS, st.sampled_from(["", "another"]), size=st.integers(0, 300)
)
STEPS = st.one_of(
    st.tuples(st.just("advance"), MARKS),
    st.tuples(st.just("replace"), MARKS),
    st.tuples(st.just("torn"), st.binary(min_size=1, max_size=60)),
    st.tuples(st.just("reopen"), st.none()),
)


def _allowed(last: Mark | None, wanted: Mark) -> bool:
    return last is None or wanted.sn > last.sn or (wanted.sn, wanted.said) == (last.sn, last.said)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEPS, max_size=25))
def test_marks_are_a_table(steps: list[tuple[str, Mark | bytes | None]]) -> None:
    """Each identifier has the mark that was made last; refused ones leave no trace."""
    table: dict[Aid, Mark] = {}
    latest: Mark | None = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        marks = new_marks(folder)
        for step, value in steps:
            if isinstance(value, bytes):
                # What a crash leaves of a write that was not acknowledged. Whoever was running
                # then is not any more.
                with (folder / "marks").open("ab") as stream:
                    stream.write(value)
                marks = opened(folder)
            elif value is None:
                marks = opened(folder)
            elif step == "replace" or _allowed(table.get(value.aid), value):
                repeated = step == "advance" and table.get(value.aid) == value
                (marks.replace if step == "replace" else marks.advance)(value)
                if table.get(value.aid) is None or not repeated:
                    latest = value
                table[value.aid] = value
            else:
                assert not wins(marks, value)
            assert marks.find([ALICE, BOB]) == [table.get(ALICE), table.get(BOB)]
            assert marks.latest() == latest


def _found(folder: Path) -> tuple[Mark | None, ...] | ErrorCode:
    try:
        return tuple(opened(folder).find([ALICE, BOB]))
    except KeystoreError as error:
        return error.code


@settings(max_examples=100, deadline=None)
@given(
    wanted=st.lists(MARKS, min_size=2, max_size=6),
    place=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_no_change_makes_another_mark(wanted: list[Mark], place: float, bit: int) -> None:
    """With a bit flipped anywhere, the marks are refused, or are those of a shorter past."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        marks = new_marks(folder)
        past: list[tuple[Mark | None, ...]] = []
        for one in wanted:
            past.append(tuple(marks.find([ALICE, BOB])))
            marks.replace(one)
        data = bytearray((folder / "marks").read_bytes())
        data[int(place * len(data))] ^= 1 << bit
        (folder / "marks").write_bytes(data)
        assert _found(folder) in (past[-1], ErrorCode.TAMPERED)
