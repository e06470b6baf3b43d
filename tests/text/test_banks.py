import json
import re
import socket

import pytest

from sega_utils.core import paths
from sega_utils.data import catalogue
from sega_utils.data.published import DIGITS, FASHION_MNIST_CLASSES
from sega_utils.text import prompts
from sega_utils.text.banks import load_bank

CIFAR_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NAMES = {"fashion-mnist": FASHION_MNIST_CLASSES, "mnist": DIGITS, "cifar-10": CIFAR_10, "svhn": DIGITS}
COUNTS = {"cifar-100": 100, "tiny-imagenet": 200}  # their names come with their archives
N_PROMPTS = 12


@pytest.fixture(params=[*NAMES, *COUNTS])
def dataset(request):
    return request.param


@pytest.fixture
def told(dataset):
    return catalogue.about(dataset)[0]


@pytest.fixture
def bank(dataset):
    return catalogue.about(dataset)[1]


@pytest.fixture
def records(bank):
    """Return the bank's records by class name."""
    return {asked(record["request"])["class_name"]: record for record in load_bank(bank).values()}


def asked(request):
    return json.loads(request["messages"][1]["content"])


def test_every_data_set_has_a_bank_and_every_bank_a_data_set():
    used = {catalogue.about(name)[1] for name in catalogue.DATASETS}
    assert used | {paths.DATA / "prompts/digits.jsonl"} == set((paths.DATA / "prompts").glob("*.jsonl"))


def test_a_bank_answers_once_for_each_class_of_its_data_set_in_order(dataset, bank, records):
    assert tuple(records) == NAMES.get(dataset, tuple(records))
    assert len(load_bank(bank)) == len(records) == COUNTS.get(dataset, 10)


def test_it_holds_what_would_be_asked_today_and_replays_without_network_or_key(told, bank, records, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("replay opened a socket")

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(socket, "socket", refuse)
    answers = prompts.expand(list(records), bank=bank, **told)  # found by digest: the requests are today's, to the byte
    assert answers == {name: record["prompts"] for name, record in records.items()}
    assert {len(texts) for texts in answers.values()} == {N_PROMPTS}
    assert len(set(prompts.flatten(answers)[0])) == N_PROMPTS * len(records)


def test_it_says_who_wrote_it(records):
    for record in records.values():
        assert record["author"] == "authored for this project, not produced by GPT-4o-mini"
        assert record["provider"] == "authored" and record["requested_model"] == "gpt-4o-mini"
        assert record["model"] is record["created"] is record["system_fingerprint"] is record["usage"] is None


def test_its_captions_keep_to_the_instructions(records):
    for name, record in records.items():
        parts = {name.lower(), *name.lower().split()}  # a class may be part of another's name
        others = "|".join(re.escape(other.lower()) for other in records if other.lower() not in parts)
        others = re.compile(rf"(?<![\w-])({others})(e?s)?(?![\w-])")
        for text in record["prompts"]:
            assert re.fullmatch(r"[A-Z][^.!?]*[.!?]", text) and text.isascii(), text  # one sentence
            assert not others.search(text.lower()), text
        said = " ".join(record["prompts"]).lower()
        assert all(re.search(rf"\b{word}\b", said) for word in asked(record["request"]).get("words", ())), name


def test_a_class_with_another_meaning_is_described(dataset, told, records):
    described = {name: asked(record["request"]).get("description") for name, record in records.items()}
    assert told.get("descriptions", {}) == {name: text for name, text in described.items() if text}
