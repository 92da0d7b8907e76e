"""Key states and their short questions."""

import pytest

from keystead.keri.build import Configuration
from keystead.testing.authoring import Author


@pytest.mark.parametrize(
    ("traits", "establishment_only", "do_not_delegate"),
    [
        ((), False, False),
        (("EO",), True, False),
        (("DND",), False, True),
        (("NRB", "DND", "EO"), True, True),
        (("eo", "dnd"), False, False),
    ],
)
def test_traits_are_told_from_the_inception(
    traits: tuple[str, ...], *, establishment_only: bool, do_not_delegate: bool
) -> None:
    """EO and DND hold for the whole log when its inception lists them; others change nothing."""
    author = Author("any")
    author.incept(configuration=Configuration(traits))
    author.rotate()
    last = author.state.establishment
    assert last.configuration_traits == traits
    assert last.establishment_only is establishment_only
    assert last.do_not_delegate is do_not_delegate


def test_log_with_next_keys_goes_on() -> None:
    """With next keys an identifier can have more events."""
    author = Author("any")
    author.incept()
    assert author.state.establishment.transferable


def test_log_without_next_keys_has_ended() -> None:
    """Without next keys it cannot."""
    author = Author("any")
    author.incept()
    author.rotate(last=True)
    assert not author.state.establishment.transferable
