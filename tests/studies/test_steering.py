import pytest
import torch

from sega_utils.data.images import Dataset, to_uint8
from sega_utils.studies import steering
from sega_utils.text import attributes


@pytest.fixture
def drawn():
    """Return real bags of brightness 0.4 to 0.6, and candidates: light ones kept of two prompts, dark ones rejected."""
    bag = torch.zeros(1, 1, 32, 32)
    bag[:, :, 8:24, 8:24] = 1
    real = Dataset(torch.cat([bag * level for level in (0.4, 0.5, 0.6)]), torch.zeros(3, dtype=torch.int64), ("bag",))
    images = to_uint8(torch.cat([bag * level for level in (0.8,) * 8 + (0.2,) * 2]))
    prompts = torch.tensor([0] * 4 + [1] * 4 + [0, 1])
    texts = ("a light bag", "a dark bag")
    rows = [
        {"class": "bag", "prompt": texts[p], "reason": "" if i < 8 else "blur"} for i, p in enumerate(prompts.tolist())
    ]
    return {"images": images, "prompt_ids": prompts}, rows, real


def test_a_prompt_is_obeyed_as_far_as_its_kept_images_lie_toward_its_word(drawn):
    pool, rows, real = drawn
    light, dark = steering.followed(pool, rows, real)
    assert (light["prompt_id"], light["word"], dark["prompt_id"], dark["word"]) == (0, "light", 1, "dark")
    assert light["effect"] == pytest.approx((0.8 - 0.5) / 0.1, rel=1e-3) and dark["effect"] == -light["effect"]
    assert (light["kept"], light["real"]) == pytest.approx((0.8, 0.5), abs=1e-3)
    assert light["attribute"] == "brightness" == next(iter(attributes.WORDS))


def test_too_few_kept_images_say_nothing_and_a_table_of_others_is_refused(drawn):
    pool, rows, real = drawn
    rows[0]["reason"] = "blur"
    assert [row["prompt_id"] for row in steering.followed(pool, rows, real)] == [1]
    with pytest.raises(ValueError, match="9 rows for 10 candidates"):
        steering.followed(pool, rows[:-1], real)


def test_what_a_filter_takes_of_each_word_is_counted_by_word():
    claims = attributes.said(["a dark bag", "a dark, wide bag", "a light bag", "a bag"])
    found = {row["word"]: row for row in steering.lost(claims, ["blur", "", "alignment", "blur"], "blur")}
    assert list(found) == ["dark", "light", "wide"]
    assert found["dark"] == {"attribute": "brightness", "word": "dark", "candidates": 2, "rejected": 50.0}
    assert (found["light"]["rejected"], found["wide"]["rejected"]) == (0, 0)
