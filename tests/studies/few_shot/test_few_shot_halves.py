"""Halves of edits: the same edits for both ways to choose, of which the score keeps the best of each class."""

import pytest
import torch
from six_classes import PLACE

from sega_utils.core import runtime
from sega_utils.studies.few_shot import draws, halves, worlds

ALPHA = 2.0


@pytest.fixture
def world():
    return worlds.world_of(PLACE, worlds.split_of(6, (1, 4)))


@pytest.fixture
def task(world):
    return worlds.task_of(world, 3, 0)


def places(kept, images):
    """Return for each kept image where it is among others, as a list."""
    return [int((image == images).flatten(1).all(1).nonzero()[0, 0]) for image in kept]


def test_both_halves_are_of_the_same_edits_and_hold_as_many_of_each_class(world, task):
    rng = runtime.generator(0)
    pool = torch.cat([draws.edited(world, task, rng, alpha=ALPHA)[0] for _ in range(2)])
    worth = halves.scores(world, task, pool).view(2, 2, draws.EACH).transpose(0, 1).flatten(1)  # class by class
    mine = torch.arange(4 * draws.EACH).view(2, 2, draws.EACH).transpose(0, 1).flatten(1)
    found = {}
    for by in halves.BY:
        images, labels, weights = halves.halved(world, task, runtime.generator(0), alpha=ALPHA, by=by)
        assert labels.tolist() == [0] * draws.EACH + [1] * draws.EACH and (weights == 1).all()
        found[by] = places(images, pool)
        assert len({*found[by]}) == 2 * draws.EACH
        assert [at // draws.EACH % 2 for at in found[by]] == labels.tolist()  # of the class it says
    for c in range(2):
        best = mine[c][worth[c].argsort(descending=True)[: draws.EACH]].tolist()
        assert {*found["score"][c * draws.EACH :][: draws.EACH]} == {*best}
    assert {*found["random"]} != {*found["score"]}


def test_the_random_half_is_drawn_by_the_generator(world, task):
    draw = lambda seed: halves.halved(world, task, runtime.generator(seed), alpha=ALPHA, by="random")[0]
    assert torch.equal(draw(0), draw(0)) and not torch.equal(draw(0), draw(1))


def test_an_edit_is_scored_between_its_few_image_and_the_seen_image_nearest_to_that(world, task):
    images, _, _ = draws.edited(world, task, runtime.generator(0), alpha=ALPHA)
    found = halves.scores(world, task, torch.cat((images, images)))
    assert torch.equal(found[: len(images)], found[len(images) :])
    few, seen = world.encode(task.few.images), world.encode(world.seen.images)
    for at, which in ((0, 0), (4, 1), (draws.EACH + 2, 5)):  # three few images of a class take turns
        source = few[which]
        target = min(seen, key=lambda feature: float((feature - source).norm()))
        edit = world.encode(images[at : at + 1])[0]
        gone, left, way = ((a - b).norm() for a, b in ((edit, source), (edit, target), (source, target)))
        assert float(found[at]) == pytest.approx(float(0.5 / (1 + gone / way) + 0.5 * gone / (gone + left)), abs=1e-4)


def test_another_way_to_choose_is_refused(world, task):
    with pytest.raises(ValueError, match="by is 'worst'; allowed are score, random"):
        halves.halved(world, task, runtime.generator(0), alpha=1.0, by="worst")
