"""Key URIs: one spelling each, and no secret in any of them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keystead.custody.uri import (
    DerivedUri,
    ImportedUri,
    KeyUri,
    TokenUri,
    format_uri,
    parse_uri,
)
from keystead.errors import ErrorCode, UsageError

NUMBERS = st.integers(0, 2**32 - 1)
PRINTABLE = st.characters(exclude_categories=["C", "Z"])
LABELS = st.text(PRINTABLE, min_size=1, max_size=8) | st.sampled_from(
    ["office key", "a;b?c&d", "100 %", "pin-value=1", "ключ", "🔑", "type=private", "a/b", "%41"]
)
MODULES = st.text(PRINTABLE, max_size=20).map("/{}".format)
SERIALS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=16)

URIS = (
    st.builds(
        DerivedUri,
        NUMBERS,
        NUMBERS,
        st.from_regex("[a-z][a-z0-9-]{0,31}", fullmatch=True),
        NUMBERS,
        NUMBERS,
    )
    | st.builds(ImportedUri, st.from_regex("[A-Za-z0-9_-]{1,64}", fullmatch=True))
    | st.builds(TokenUri, MODULES, LABELS, LABELS, SERIALS)
)

SPELLED: list[tuple[str, KeyUri]] = [
    ("derived:0/17/sign.0/4", DerivedUri(0, 17, "sign", 0, 4)),
    ("imported:EAbc_-9", ImportedUri("EAbc_-9")),
    (
        "pkcs11:token=office;object=key%201;type=private?module-path=/usr/lib/m.so",
        TokenUri("/usr/lib/m.so", "office", "key 1"),
    ),
    (
        "pkcs11:token=a%3Bb;serial=00ff;object=%C3%A9;type=private?module-path=/a%3Fb",
        TokenUri("/a?b", "a;b", "é", serial="00ff"),
    ),
]

PLAIN = "pkcs11:token=office;object=key;type=private?module-path=/m.so"
HOSTILE = [
    "",
    "derived:",
    "derived:0/17/sign.0/4 ",
    "derived:0/17/sign.0/4\n",
    "Derived:0/17/sign.0/4",
    "derived:00/17/sign.0/4",
    "derived:+0/17/sign.0/4",
    "derived:-1/17/sign.0/4",
    "derived:0/1_7/sign.0/4",
    "derived:\N{ARABIC-INDIC DIGIT ZERO}/17/sign.0/4",
    "derived:0/4294967296/sign.0/4",
    "derived:0/99999999999999999999/sign.0/4",
    "derived:0/17rr/sign.0/4",
    "derived:0/17/SIGN.0/4",
    "derived:0/17/.0/4",
    "derived:0/17/sign.0/4/5",
    "imported:",
    "imported:a/b",
    "imported:../../etc/passwd",
    "imported:" + "a" * 65,
    "pkcs11:",
    "pkcs11:token=office",
    "pkcs11:object=key;token=office;type=private?module-path=/m.so",
    PLAIN.replace("office", ""),
    PLAIN.replace("office", "%6Ffice"),
    PLAIN.replace("office", "offi%c3%a9"),
    PLAIN.replace("office", "%FF"),
    PLAIN.replace("office", "%ED%A0%80"),
    PLAIN.replace("office", "%00"),
    PLAIN.replace("office", "a%0Ab"),
    PLAIN.replace("office", "a+b"),
    PLAIN.replace("office", "a b"),
    PLAIN.replace("office", "office%20"),
    PLAIN.replace("office", "a" * 33),
    PLAIN.replace("office", "%"),
    PLAIN.replace("office", "%4"),
    PLAIN.replace("office", "\ud800"),
    PLAIN.replace("key", "k" * 256),
    PLAIN.replace("/m.so", "m.so"),
    PLAIN.replace("/m.so", "%2Fm.so"),
    PLAIN.replace("/m.so", ""),
    PLAIN.replace("/m.so", "/" + "m" * 4095),
    PLAIN.replace("type=private", "type=public"),
    PLAIN.replace(";object", ";serial=;object"),
    PLAIN.replace(";object", ";serial=" + "1" * 17 + ";object"),
    PLAIN.replace(";object", ";serial=%C3%A9;object"),
    PLAIN.replace(";object", ";token=office;object"),
    PLAIN + "&module-name=x",
    PLAIN.upper(),
]


@pytest.mark.parametrize(("text", "uri"), SPELLED)
def test_each_kind_has_its_spelling(text: str, uri: KeyUri) -> None:
    """A derived, an imported and a token's key are spelled as documented, both ways."""
    assert parse_uri(text) == uri
    assert format_uri(uri) == text


@given(uri=URIS)
def test_what_is_written_is_read_back(uri: KeyUri) -> None:
    """Every URI that can be made survives being written and read."""
    assert parse_uri(format_uri(uri)) == uri


@given(
    text=st.text()
    | st.sampled_from([text for text, _ in SPELLED]).flatmap(
        lambda text: st.tuples(st.integers(0, len(text)), st.text(max_size=3)).map(
            lambda edit: text[: edit[0]] + edit[1] + text[edit[0] + 1 :]
        )
    )
)
@example(text=PLAIN)
def test_what_is_read_has_one_spelling(text: str) -> None:
    """Any text is refused with usage.argument, or is the one spelling of what it says."""
    uri, refused = None, None
    try:
        uri = parse_uri(text)
    except UsageError as error:
        refused = error.code
    assert refused is ErrorCode.ARGUMENT if uri is None else format_uri(uri) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_odd_texts_are_refused(text: str) -> None:
    """Whatever is not the usual spelling of a key URI is refused with usage.argument."""
    with pytest.raises(UsageError) as caught:
        parse_uri(text)
    assert caught.value.code is ErrorCode.ARGUMENT


@pytest.mark.parametrize(
    "text",
    [
        PLAIN + "&pin-value=hunter2",
        PLAIN + "&pin-source=file:hunter2",
        PLAIN + "&PIN-VALUE=hunter2",
        PLAIN.replace("?", "?pin-value=hunter2&"),
        "pkcs11:token=office;pin-value=hunter2",
    ],
)
def test_pins_are_refused_and_not_repeated(text: str) -> None:
    """A URI with a PIN in it is refused for that, and the error does not show the PIN."""
    with pytest.raises(UsageError, match="must not hold a PIN") as caught:
        parse_uri(text)
    assert caught.value.code is ErrorCode.ARGUMENT
    assert "hunter2" not in f"{caught.value!r} {caught.value.hint} {caught.value.fields}"


@pytest.mark.parametrize("text", ["hunter2", "pkcs11:hunter2", PLAIN + "&pin=hunter2"])
def test_refusals_do_not_repeat_the_text(text: str) -> None:
    """A text that was refused may hold a secret, so no part of it is in the error."""
    with pytest.raises(UsageError) as caught:
        parse_uri(text)
    assert "hunter2" not in f"{caught.value!r} {caught.value.hint} {caught.value.fields}"
