"""Attachment groups as bytes."""

import pytest

from keystead.cesr import base64, groups, writing
from keystead.cesr.codes import GroupKind
from keystead.cesr.groups import Group, PathedMaterial, PathSignatures
from keystead.limits import DEFAULT_LIMITS
from support.streams import GROUPS, SIGNATURES


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.kind.value)
def test_a_written_group_reads_back(group: Group) -> None:
    """Every kind of group is read as it was written."""
    written = writing.write_groups([group])
    assert groups.read_framed(base64.decode(written), DEFAULT_LIMITS) == (group,)


def test_there_is_an_example_of_every_kind_of_group() -> None:
    """No kind that has items is left out."""
    without = {GroupKind.ATTACHMENTS, GroupKind.GENERIC, GroupKind.GENUS_VERSION}
    assert {group.kind for group in GROUPS} == set(GroupKind) - without


def test_groups_stand_one_after_another() -> None:
    """Several groups are written in order."""
    written = writing.write_groups(GROUPS)
    assert written == b"".join(writing.write_groups([group]) for group in GROUPS)
    assert groups.read_framed(base64.decode(written), DEFAULT_LIMITS) == GROUPS


def test_a_frame_counts_what_is_in_it() -> None:
    """The frame's count is in quadlets."""
    group = Group(GroupKind.CONTROLLER_SIGNATURES, SIGNATURES[:1])
    assert writing.write_frame([group]) == b"-VAX" + writing.write_groups([group])


def test_an_empty_frame_counts_nothing() -> None:
    """A frame without groups is a count code."""
    assert writing.write_frame([]) == b"-VAA"


def test_a_large_frame_takes_the_big_code() -> None:
    """More than 4095 quadlets take five digits."""
    group = Group(GroupKind.CONTROLLER_SIGNATURES, SIGNATURES[:1] * 200)
    written = writing.write_frame([group])
    assert written.startswith(b"-0V" + base64.from_int(1 + 200 * 22, 5).encode() + b"-ADI")


def test_a_count_must_fit() -> None:
    """A group of more items than its code can count is refused."""
    group = Group(GroupKind.CONTROLLER_SIGNATURES, SIGNATURES[:1] * 4096)
    with pytest.raises(ValueError, match="no count code for 4096 of controller signatures"):
        writing.write_groups([group])


def test_each_pathed_material_has_its_own_code() -> None:
    """The code counts quadlets, so it frames one item."""
    items = (PathedMaterial("-a", b"-AAA"), PathedMaterial("-b", b"-AAA"))
    written = writing.write_groups([Group(GroupKind.PATHED_MATERIAL, items)])
    assert written == b"-LAD5AABAA-a-AAA-LAD5AABAA-b-AAA"


def test_a_root_path_counts_its_groups() -> None:
    """The root form counts the groups behind the path, not the paths."""
    inner = Group(GroupKind.PATH_SIGNATURES, (PathSignatures("-a", GROUPS[:1]),))
    root = Group(GroupKind.ROOT_PATH_SIGNATURES, (PathSignatures("-", (inner, inner)),))
    written = writing.write_groups([root])
    assert written.startswith(b"-KAC6AABAAA--JAB5AABAA-a-AAE")
    assert written.count(b"-JAB") == 2
