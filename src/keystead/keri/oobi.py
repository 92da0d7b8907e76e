"""Out-of-band introductions: URLs where what an identifier needs to be verified may be found.

An introduction proves nothing. What it leads to is verified by itself: a log by its signatures, a
schema by its digest.

Source: KERI specification, "OOBI (Out-Of-Band Introduction)"; paths as keri 1.x serves them.
"""

import ipaddress
import json
import re
from typing import Final
from urllib.parse import quote, unquote_plus

import msgspec

from keystead.cesr import body as bodies
from keystead.cesr.keys import Aid, Said, digest, digest_code, is_aid
from keystead.cesr.versions import Kind
from keystead.errors import DecodeError, ErrorCode, VerificationError
from keystead.keri.fields import parse_aid, parse_texts
from keystead.keri.messages import Reply
from keystead.keri.routed import ROLES
from keystead.limits import Limits

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
MULTI_ROUTES: Final = ("/oobi/witness", "/oobi/controller")

_WELL_KNOWN: Final = "/.well-known/keri/oobi/"
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+)(?::(?P<port>[1-9]\d{0,4}))?"
    r"(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?",
    re.IGNORECASE,
)
_HOST: Final = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)
_LARGEST_PORT: Final = 65535
_SAFE_NAME: Final = "-._~"


class OobiPath(msgspec.Struct, frozen=True, gc=False):
    """What an introduction points at.

    Attributes:
        target: identifier, or digest of data such as a schema; None: whatever the service
            chooses to introduce.
        role: in which the endpoint acts for the identifier; empty if none is named.
        eid: who acts in the role; None if nobody is named.
        well_known: the path is below /.well-known.
    """

    target: Aid | Said | None = None
    role: str = ""
    eid: Aid | None = None
    well_known: bool = False

    @property
    def text(self) -> str:
        """The path of a URL."""
        if self.well_known:
            return f"{_WELL_KNOWN}{self.target}"
        parts = (self.target, self.role, self.eid)
        return "/".join(["/oobi", *(part for part in parts if part)])


class Oobi(msgspec.Struct, frozen=True, gc=False):
    """An introduction.

    Attributes:
        base: scheme, host and port in their one form, such as https://example.com:8443.
        path: what it points at.
        name: what the one who made it calls the identifier; a proposal, never proof.
    """

    base: str
    path: OobiPath
    name: str = ""

    @property
    def url(self) -> str:
        """The one form of the URL."""
        query = f"?name={quote(self.name, safe=_SAFE_NAME)}" if self.name else ""
        return self.base + self.path.text + query

    @property
    def aid(self) -> Aid | None:
        """The identifier that it names, if its path leads to one; a digest may be one."""
        target = self.path.target
        return None if target is None else Aid(target)


class MultiOobi(msgspec.Struct, frozen=True, gc=False):
    """Further introductions for one identifier; nobody has signed them.

    Attributes:
        aid: the identifier.
        oobis: introductions that name it.
    """

    aid: Aid
    oobis: tuple[Oobi, ...]


def parse_oobi(text: str, limits: Limits) -> Oobi:
    """Read the URL of an introduction.

    Raises:
        DecodeError: too long (decode.limit), or no URL of an introduction (decode.value): another
            scheme, user information, a fragment, escapes in the path, another path, another
            query than a name.
    """
    if len(text) > limits.url:
        raise DecodeError(ErrorCode.LIMIT, f"the URL has more than {limits.url} characters")
    match = _URL.fullmatch(text)
    if match is None:
        raise _refused("the URL is not http(s)://HOST[:PORT]/oobi...")
    path = parse_path(match["path"] or "")
    if path is None:
        raise _refused("the path of the URL is none of an introduction")
    name = _parse_query(match["query"] or "")
    return Oobi(_base(match), path, name)


def parse_base(text: str, limits: Limits) -> str:
    """Return where a service is, from the URL of its location, in the form of `Oobi.base`.

    Raises:
        DecodeError: too long (decode.limit), or no URL of a host (decode.value). Introductions
            are at the root of a host, so a path has no place in it.
    """
    match = _URL.fullmatch(text) if len(text) <= limits.url else None
    if match is None or match["path"] not in (None, "/") or match["query"] is not None:
        raise _refused("the URL of the location is not http(s)://HOST[:PORT]/")
    return _base(match)


def parse_path(text: str) -> OobiPath | None:
    """Read the path of a URL, as a server gets it; None if it is none of an introduction."""
    if text.startswith(_WELL_KNOWN):
        target = text.removeprefix(_WELL_KNOWN)
        return OobiPath(Aid(target), well_known=True) if is_aid(target) else None
    if text != "/oobi" and not text.startswith("/oobi/"):
        return None
    parts = text.split("/")[2:]
    target, role, eid = (*parts, *[""] * (3 - len(parts)))[:3]
    fits = (
        len(parts) <= 3  # noqa: PLR2004 - identifier, role, endpoint
        and all(parts)
        and (not target or is_aid(target))
        and (not role or role in ROLES)
        and (not eid or is_aid(eid))
    )
    if not fits:
        return None
    return OobiPath(Aid(target) if target else None, role, Aid(eid) if eid else None)


def is_multi(reply: Reply) -> bool:
    """Tell whether a reply, which needs no signature, gives further introductions."""
    return reply.route in MULTI_ROUTES


def parse_multi(reply: Reply, limits: Limits) -> MultiOobi:
    """Read further introductions.

    Raises:
        DecodeError: other attributes (decode.fields), no introductions, or such that name another
            identifier (decode.value), or too many (decode.limit).
    """
    if reply.attributes.keys() != {"aid", "urls"}:
        raise DecodeError(ErrorCode.FIELDS, "the reply has not the attributes aid and urls")
    aid = parse_aid(reply.attributes["aid"], "aid")
    # Each witness may have an endpoint of either scheme.
    urls = parse_texts(reply.attributes["urls"], "urls", 2 * limits.witnesses)
    oobis = tuple(dict.fromkeys(parse_oobi(url, limits) for url in urls))
    if any(one.path.target != aid for one in oobis):
        raise DecodeError(ErrorCode.VALUE, "an introduction names another identifier")
    return MultiOobi(aid, oobis)


def parse_schema(raw: bytes, said: Said, limits: Limits) -> bytes:
    """Check that a JSON schema is the one of a digest, and return its canonical form.

    Peers compute the digest over the canonical form, and may serve another.

    Raises:
        DecodeError: no JSON field map (decode.body), or too large or deep (decode.limit).
        VerificationError: its digest is another one (verify.said).
    """
    if len(raw) > limits.body:
        raise DecodeError(ErrorCode.LIMIT, f"a schema of more than {limits.body} bytes")
    try:
        canonical = bodies.encode(json.loads(raw), Kind.JSON)
    except (ValueError, RecursionError):
        raise DecodeError(ErrorCode.BODY, "the schema is not JSON") from None
    fields = bodies.decode(canonical, Kind.JSON, limits)
    code = digest_code(said)
    if code and fields.get("$id") == said:
        fields["$id"] = "#" * len(said)
        if digest(bodies.encode(fields, Kind.JSON), code) == said:
            return canonical
    raise VerificationError(ErrorCode.SAID, "the schema is not the one of this digest")


def _base(match: re.Match[str]) -> str:
    scheme, host = match["scheme"].lower(), match["host"].lower()
    port = int(match["port"]) if match["port"] else DEFAULT_PORTS[scheme]
    if host.startswith("["):
        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            raise _refused("the host of the URL is no IPv6 address") from None
    elif not _HOST.fullmatch(host):
        raise _refused("the host of the URL is malformed")
    if port > _LARGEST_PORT:
        raise _refused(f"the port of the URL is above {_LARGEST_PORT}")
    return f"{scheme}://{host}" + (f":{port}" if port != DEFAULT_PORTS[scheme] else "")


def _parse_query(query: str) -> str:
    """Return the name in a query; `tag`, which keri's configurations add, means nothing here.

    Raises:
        DecodeError: other parameters, one twice, or a name that cannot be shown.
    """
    found: dict[str, str] = {}
    for part in query.split("&") if query else ():
        label, _, value = part.partition("=")
        if label not in ("name", "tag") or label in found:
            raise _refused("the query of the URL is not one name")
        try:
            found[label] = unquote_plus(value, errors="strict")
        except ValueError:
            raise _refused("the name in the URL is not UTF-8") from None
    name = found.get("name", "")
    if not name.isprintable():
        raise _refused("the name in the URL has characters that cannot be seen")
    return name


def _refused(what: str) -> DecodeError:
    return DecodeError(
        ErrorCode.VALUE,
        what,
        hint="an introduction looks like https://HOST/oobi/IDENTIFIER/witness/WITNESS",
    )
