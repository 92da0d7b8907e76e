"""What a signature is worth, compared with a model that follows the definition word by word."""

from dataclasses import dataclass

from hypothesis import event, given, settings
from hypothesis import strategies as st

from keystead.cesr.keys import digest
from keystead.keri.seals import DigestSeal
from keystead.keri.verdicts import Recorded
from keystead.owner.standing import Exposure, Standing
from keystead.testing.authoring import Author
from support.documents import ANCHOR, judged_by, notice, signed_document
from support.logs import Node

OTHER = DigestSeal(digest(b"another document"))


@dataclass(frozen=True, slots=True)
class Story:
    """A log with one key at a time.

    Attributes:
        events: for each event after the inception whether it is a rotation, and whether it
            anchors the document.
        signer: after how many rotations the document is signed.
        stolen: rotations to the first event in doubt.
    """

    events: tuple[tuple[bool, bool], ...]
    signer: int
    stolen: dict[int, int]

    @property
    def generations(self) -> list[int]:
        """How many rotations there were at each event."""
        found = [0]
        for rotates, _ in self.events:
            found.append(found[-1] + rotates)
        return found


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Draw a log, a signature under some of its keys, and thefts of former keys."""
    events = tuple(draw(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=7)))
    generations = Story(events, 0, {}).generations
    last = generations[-1]
    stolen = {}
    for generation in range(last):
        places = [sn for sn, found in enumerate(generations) if found == generation]
        if draw(st.booleans()):
            stolen[generation] = draw(st.sampled_from([*places, places[-1] + 1]))
    return Story(events, draw(st.integers(0, last)), stolen)


def _expected(story: Story) -> tuple[bool, Standing, Exposure, int | None]:
    generations, signer, stolen = story.generations, story.signer, story.stolen
    anchors = [sn for sn, (_, anchored) in enumerate(story.events, 1) if anchored]
    # An event is in doubt when its key was stolen by then.
    good = [sn for sn in anchors if stolen.get(generations[sn], sn + 1) > sn]
    standing = Standing.CURRENT if signer == generations[-1] else Standing.ROTATED
    first = good[0] if good else None
    if signer not in stolen:
        return True, standing, Exposure.NONE, first
    if first is not None and first < stolen[signer]:
        return True, standing, Exposure.ANCHORED_BEFORE, first
    if first is not None:
        return True, standing, Exposure.ANCHORED_BY_OTHER_KEYS, first
    if anchors:
        return False, standing, Exposure.ANCHORED_AFTER, anchors[0]
    return False, standing, Exposure.NOT_ANCHORED, None


@settings(deadline=None, max_examples=200)
@given(stories())
def test_answer_is_that_of_the_definition(story: Story) -> None:
    """Standing, exposure and anchor are what the log and the notices say."""
    node, author = Node(), Author("signer")
    node.accept(author.incept().raw)
    documents = [signed_document(author)]
    for rotates, anchored in story.events:
        seal = ANCHOR if anchored else OTHER
        node.accept((author.rotate(anchors=[seal]) if rotates else author.interact(seal)).raw)
        if rotates:
            documents.append(signed_document(author))
    for generation, since in story.stolen.items():
        told = node.feed(notice(author, author.pairs(generation)[0].key, since))
        assert isinstance(told, Recorded)
    verdict = judged_by(node, documents[story.signer])
    event(str(verdict.exposure))
    found = (verdict.valid, verdict.standing, verdict.exposure, verdict.anchored_at)
    assert found == _expected(story)
    generations = story.generations
    replaced = generations.index(story.signer + 1) if story.signer < generations[-1] else None
    assert verdict.rotated_at == replaced
    assert verdict.log_sn == len(story.events)
    assert verdict.compromised_since == story.stolen.get(story.signer)
