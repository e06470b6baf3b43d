import random

import pytest
import torch

from sega_utils.data import augment
from sega_utils.text import attributes, clip, clip_training
from sega_utils.text.clip import Clip, Vocabulary
from sega_utils.text.clip_training import caption, evaluate_clip, train_clip

WORDS = list(attributes.WORDS.values())


# captions


def test_a_caption_says_only_what_is_true_and_reports_what_it_said():
    rng, bins = random.Random(0), [0, 2, 1, 2, 0]
    seen = set()
    for _ in range(200):
        text, said = caption("dress", bins, rng)
        words = text.removeprefix("a photo of a ").split()
        assert sorted(set(words) - {"dress", "dresses"}) == sorted(WORDS[a][k] for a, k in enumerate(said) if k >= 0)
        assert all(k in (-1, bins[a]) for a, k in enumerate(said))
        assert {"dress", "dresses"} & set(words)
        seen |= set(words)
    assert seen == {"dress", "dresses", "dark", "wide", "solid", "plain"}  # the middle length has no word


def test_a_caption_without_a_class_says_attributes_only():
    rng = random.Random(0)
    texts = {caption(None, [0, 0, 0, 0, 0], rng)[0] for _ in range(100)}
    assert {word for text in texts for word in text.removeprefix("a photo of a ").split()} == {w[0] for w in WORDS}


def test_the_order_of_words_varies():
    rng = random.Random(0)
    texts = [caption("dress", [0] * 5, rng)[0] for _ in range(200)]
    assert any(t.find("dark") < t.find("plain") for t in texts if "dark" in t and "plain" in t)
    assert any(t.find("dark") > t.find("plain") for t in texts if "dark" in t and "plain" in t)


# training


def weights(model) -> list[torch.Tensor]:
    return list(model.state_dict().values())


def test_training_depends_on_its_seed_alone(tiny):
    torch.manual_seed(123)
    first, vocabulary, curve = train_clip(tiny, steps=3, seed=0, batch_size=8)
    torch.manual_seed(321)
    again, _, same = train_clip(tiny, steps=3, seed=0, batch_size=8)
    other, _, _ = train_clip(tiny, steps=3, seed=1, batch_size=8)
    assert all(map(torch.equal, weights(first), weights(again))) and curve == same
    assert not all(map(torch.equal, weights(first), weights(other)))
    assert not first.training and [row["step"] for row in curve] == [3]
    assert vocabulary == sorted(vocabulary)


def test_training_learns_the_classes_of_three_plain_shapes(tiny):
    model, vocabulary, _ = train_clip(tiny, steps=100, seed=0, batch_size=16, ema=0.9)
    trained = Clip(model, Vocabulary(vocabulary), image_size=32, mean=[0.5], std=[0.5], sha256="")
    assert evaluate_clip(trained, tiny)["zero_shot_accuracy"] > 0.9  # chance is a third


def test_the_returned_weights_are_averaged_with_the_decay(tiny):
    torch.manual_seed(0)
    start = clip.build_clip(clip.vocabulary_of(tiny.class_names)).state_dict()
    last, averaged = (train_clip(tiny, steps=1, seed=0, batch_size=8, ema=ema)[0].state_dict() for ema in (0.0, 0.05))
    for name, weight in averaged.items():
        if weight.is_floating_point():
            torch.testing.assert_close(weight, 0.05 * start[name] + 0.95 * last[name], rtol=0, atol=1e-5)
        else:
            assert torch.equal(weight, last[name])


@pytest.mark.parametrize("mirrors", [False, True])
def test_images_are_mirrored_only_where_that_leaves_their_class(tiny, monkeypatch, mirrors):
    seen, shift = [], augment.shift
    monkeypatch.setattr(
        augment, "shift", lambda *given, **options: seen.append(options["flip"]) or shift(*given, **options)
    )
    train_clip(tiny._replace(mirrors=mirrors), steps=2, seed=0, batch_size=8)
    assert seen == [mirrors, mirrors]


def test_a_loss_that_is_not_finite_stops_training(tiny):
    broken = tiny._replace(images=tiny.images * float("nan"))
    with pytest.raises(FloatingPointError, match="the CLIP loss is nan at step 1; lower the learning rate"):
        train_clip(broken, steps=3, seed=0, batch_size=8)


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_a_run_of_few_steps_works(tiny, steps):
    assert len(train_clip(tiny, steps=steps, seed=0, batch_size=4)[2]) == 1


def test_every_true_caption_is_a_positive():
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    true = torch.eye(4, dtype=torch.bool)
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(4))
    torch.testing.assert_close(clip_training.soft_cross_entropy(logits, true), expected)
    true[0, 2] = True
    shares = logits.softmax(1)
    rows = [-(shares[0, 0].log() + shares[0, 2].log()) / 2, *(-shares[i, i].log() for i in (1, 2, 3))]
    torch.testing.assert_close(clip_training.soft_cross_entropy(logits, true), torch.stack(rows).mean())


# what a CLIP is worth


class Oracle:
    """A stand-in whose embeddings hold the class and, signed, every measured attribute."""

    def __init__(self, data, *, sign: float = 1.0, turn: int = 0):
        self.names, self.sign, self.dim, self.device = data.class_names, sign, 8, torch.device("cpu")
        bins = attributes.terciles(attributes.measure(data.images), data.labels)
        self.images, classes = data.images, torch.eye(3)[(data.labels + turn) % 3]
        self.embeddings = torch.cat((3 * classes, (bins - 1).float()), 1)

    def encode_images(self, images):
        assert torch.equal(images, self.images)
        return self.embeddings

    def encode_text(self, texts):
        rows = torch.zeros(len(texts), 8)
        for row, text in zip(rows, texts, strict=True):
            assert text.startswith("a photo of a ") and "  " not in text
            row[next(i for i, name in enumerate(self.names) if text.endswith(name))] = 3
            for a, words in enumerate(WORDS):
                row[3 + a] = self.sign * ((words[2] in text.split()) - (words[0] in text.split()))
        return rows


@pytest.mark.parametrize(
    ("options", "zero_shot", "attribute"), [({}, 1.0, 1.0), ({"turn": 1}, 0.0, 1.0), ({"sign": -1.0}, 1.0, 0.0)]
)
def test_a_perfect_and_a_wrong_clip_are_told_apart(tiny, options, zero_shot, attribute):
    worth = evaluate_clip(Oracle(tiny, **options), tiny)
    assert worth == {"zero_shot_accuracy": zero_shot, "attribute_accuracy": dict.fromkeys(attributes.WORDS, attribute)}
