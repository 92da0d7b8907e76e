"""Where the witnesses of an identifier are: each tells it to those who ask there for the log."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.desks import unlocked
from support.pools import Member, fetch, our_witnesses


def test_each_witness_knows_where_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an inception, and after a rotation that adds one and cuts another."""
    monkeypatch.setenv("KEYSTEAD_NETWORK", "local")
    with our_witnesses(4) as pool, unlocked(tmp_path) as desk:
        named = [part for one in pool[:3] for part in ("--witness", one.url)]
        made = json.loads(desk.did("id", "create", "alice", *named, "--json"))
        assert _told(pool[:3], made["aid"]) == [{one.url for one in pool[:3]}] * 3
        change = ("--add-witness", pool[3].url, "--cut-witness", pool[0].aid)
        desk.did("id", "rotate", "alice", *change)
        assert _told(pool[1:], made["aid"]) == [{one.url for one in pool[1:]}] * 3


def _told(pool: Sequence[Member], aid: str) -> list[set[str]]:
    """Return the places that each witness tells in its answer to an introduction."""
    answers = [fetch(f"{one.url}/oobi/{aid}").content.decode() for one in pool]
    pattern = r'"scheme":"http","url":"(http://[^"]+?)/?"'
    return [set(re.findall(pattern, answer)) for answer in answers]
