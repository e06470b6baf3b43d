import json

import pytest

from sega_utils.core import paths
from sega_utils.data import catalogue, folders
from sega_utils.data.published import DIGITS
from sega_utils.text import banks, prompts


def test_the_digits_become_a_data_set_with_names_descriptions_and_prompts(tmp_path):
    folder = tmp_path / "digits"
    assert folders.write_digits(folder) == 1797
    train, test = (catalogue.load(f"folder:{folder}", split) for split in ("train", "test"))
    assert train.images.shape[1:] == (1, 32, 32) and len(train.labels) + len(test.labels) == 1797
    assert train.class_names == DIGITS and int(test.labels.bincount().min()) > 30
    assert float(train.images.min()) == 0 and float(train.images.max()) == 1
    told, file = catalogue.about(f"folder:{folder}")
    assert told == {
        "domain": folders.DIGITS_DOMAIN,
        "descriptions": dict(zip(DIGITS, folders.DIGIT_SHAPES, strict=True)),
    }
    assert file.read_bytes() == (paths.DATA / "prompts/digits.jsonl").read_bytes()
    with pytest.raises(FileExistsError, match="is there already"):
        folders.write_digits(folder)


def test_the_committed_prompts_are_authored_and_answer_what_would_be_asked():
    records = list(banks.load_bank(paths.DATA / "prompts/digits.jsonl").values())
    for record, name, shape in zip(records, DIGITS, folders.DIGIT_SHAPES, strict=True):
        asked = {
            "class_name": name,
            "description": shape,
            "n_prompts": 12,
            "domain": folders.DIGITS_DOMAIN,
            "words": list(prompts.LOOKS),
        }
        assert json.loads(record["request"]["messages"][1]["content"]) == asked
        assert record["request"] == prompts.compose(asked, "gpt-4o-mini", 1.0)
        assert record["author"] == "authored for this project, not produced by GPT-4o-mini"
        prompts.validate(name, record["prompts"], 12)
        assert all(any(word in text.lower() for text in record["prompts"]) for word in prompts.LOOKS)
        words = {word for text in record["prompts"] for word in text.lower().replace(",", " ").strip(".").split()}
        assert not words & (set(DIGITS) - {name})
