"""What holds for the URLs of all introductions."""

import string

from hypothesis import assume, given
from hypothesis import strategies as st

from keystead.errors import DecodeError
from keystead.keri.oobi import Oobi, OobiPath, parse_oobi, parse_path
from keystead.keri.routed import ROLES
from keystead.limits import DEFAULT_LIMITS
from keystead.testing.authoring import witness

_AIDS = st.sampled_from([witness(str(number)).aid for number in range(4)])
_LABELS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20)
_HOSTS = st.one_of(
    st.lists(_LABELS, min_size=1, max_size=4).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda one: f"[{one.compressed}]"),
)
_ROLES = st.sampled_from(sorted(ROLES))
_PATHS = st.one_of(
    st.just(OobiPath()),
    st.builds(OobiPath, _AIDS),
    st.builds(OobiPath, _AIDS, _ROLES),
    st.builds(OobiPath, _AIDS, _ROLES, _AIDS),
    st.builds(OobiPath, _AIDS, well_known=st.sampled_from([True])),
)


@st.composite
def _oobis(draw: st.DrawFn) -> Oobi:
    scheme, host = draw(st.sampled_from(["http", "https"])), draw(_HOSTS)
    port = draw(st.none() | st.integers(1, 65535))
    usual = {"http": 80, "https": 443}[scheme]
    base = f"{scheme}://{host}" + (f":{port}" if port not in (None, usual) else "")
    name = draw(st.text(max_size=30).filter(str.isprintable))
    return Oobi(base, draw(_PATHS), name)


@given(_oobis())
def test_what_is_written_is_read(oobi: Oobi) -> None:
    """An introduction comes back from its URL."""
    assert parse_oobi(oobi.url, DEFAULT_LIMITS) == oobi


@given(_PATHS)
def test_a_path_is_read(path: OobiPath) -> None:
    """A path comes back from its text."""
    assert parse_path(path.text) == path


@given(_oobis(), st.integers(0, 200), st.characters())
def test_there_is_one_form(oobi: Oobi, place: int, char: str) -> None:
    """What is read of a changed URL is written in a form that reads the same."""
    url = oobi.url
    assume(place <= len(url))
    try:
        found = parse_oobi(url[:place] + char + url[place:], DEFAULT_LIMITS)
    except DecodeError:
        return
    assert parse_oobi(found.url, DEFAULT_LIMITS) == found


@given(st.text(max_size=100))
def test_nothing_else_is_raised(text: str) -> None:
    """Whatever is given is an introduction or refused by its code."""
    for given_text in (text, f"https://example.com/{text}", f"https://{text}/oobi"):
        try:
            found = parse_oobi(given_text, DEFAULT_LIMITS)
        except DecodeError:
            continue
        assert parse_oobi(found.url, DEFAULT_LIMITS) == found
