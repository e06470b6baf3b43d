import json
import os
import re
import shutil
from collections import Counter

import pytest
import torch
from PIL import Image
from test_looks import N, one_varies

from sega_utils.__main__ import main
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, to_uint8
from sega_utils.text import attributes, authored, banks, looks
from sega_utils.text.banks import PromptError, load_bank
from sega_utils.text.prompts import check_bank, compose_all, expand, start_bank

SHAPES = Dataset(
    torch.cat((one_varies("width").images, one_varies("brightness").images)),
    torch.arange(2).repeat_interleave(N),
    ("box", "apple"),
)


@pytest.fixture
def bank(tmp_path):
    return tmp_path / "bank.jsonl"


@pytest.fixture(scope="module")
def fashion() -> Dataset:
    train = catalogue.load("fashion-mnist", "train")
    return catalogue.subset(train, catalogue.counts("fashion-mnist", 0.01, train.labels), 0)[0]


@pytest.fixture
def folder(tmp_path):
    """Return a folder of coloured images of two classes, as a user's DATASET."""
    for c, name in enumerate(SHAPES.class_names):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i, image in enumerate(to_uint8(SHAPES.images[SHAPES.labels == c])):
            tinted = image.permute(1, 2, 0).clone()
            tinted[..., i % 2] = 0  # cyan, named blue or green, and pink
            Image.fromarray(tinted.numpy()).save(tmp_path / "mine" / name / f"{i}.png")
    return tmp_path / "mine"


def words_of(texts):
    return {word for text in texts for word in re.findall("[a-z]+", text.lower())}


# the template


@pytest.mark.filterwarnings("ignore:fewer looks")
def test_only_words_for_what_varies_in_a_class_are_said_of_it(bank):
    authored.write(SHAPES, bank=bank, n_prompts=12, seed=0)
    found = expand(SHAPES.class_names, bank=bank, model="template")
    known = {word for words in attributes.WORDS.values() for word in words if word}
    said = {name: words_of(texts) & known for name, texts in found.items()}
    assert {"narrow", "wide"} <= said["box"] <= {"narrow", "wide", "plain", "patterned"}
    assert said["apple"] == {"dark", "light"}  # of an image in colours, grey would be a colour
    assert {len(set(texts)) for texts in found.values()} == {12}
    assert "An apple" in " ".join(found["apple"]) or "an apple" in " ".join(found["apple"])


@pytest.mark.filterwarnings("ignore:fewer looks")
def test_a_record_says_who_wrote_it_and_what_was_measured(bank):
    rows = authored.write(SHAPES, bank=bank, n_prompts=12, seed=3)
    for name, record in zip(SHAPES.class_names, load_bank(bank).values(), strict=True):
        assert record["author"] == "authored by template" and record["provider"] == "authored"
        assert record["requested_model"] == "template" and record["model"] is record["usage"] is None
        assert record["measured"]["seed"] == 3 and len(record["measured"]["images"]) == 64
        assert [look["attribute"] for look in record["measured"]["looks"]] == list(attributes.WORDS)
        assert {look["class_name"] for look in record["measured"]["looks"]} == {name}
    assert [row["attribute"] for row in rows] == [*attributes.WORDS, "colour"]
    assert rows[-1]["classes"] == "0 of 2" and rows[0]["classes"] == "1 of 2" and rows[0]["refused"]


def test_fewer_looks_than_prompts_are_said_aloud_and_too_few_refused(bank):
    with pytest.warns(UserWarning, match="fewer looks than the 12 prompts asked for vary in box, apple"):
        authored.write(SHAPES, bank=bank, n_prompts=12, seed=0)
    before = bank.read_bytes()
    with pytest.raises(PromptError, match="distinct prompts for class 'box', as so few looks vary.*lower N_PROMPTS"):
        authored.write(SHAPES, bank=bank, n_prompts=100, seed=0)
    assert bank.read_bytes() == before


def test_a_seed_decides_everything(bank, tmp_path, fashion):
    texts = []
    for seed in (0, 0, 1):
        bank.unlink(missing_ok=True)
        authored.write(fashion, bank=bank, n_prompts=12, seed=seed)
        texts.append(expand(fashion.class_names, bank=bank, model="template"))
    assert texts[0] == texts[1] != texts[2]


def test_fashion_mnist_has_enough_looks_and_uses_its_words_evenly(bank, fashion):
    authored.write(fashion, bank=bank, n_prompts=12, seed=0)  # without the warning
    found = expand(fashion.class_names, bank=bank, model="template")
    claims = attributes.said([text for texts in found.values() for text in texts])
    counts = {name: Counter(claims[:, a].tolist()) for a, name in enumerate(attributes.WORDS)}
    assert all(min(counts[name][0], counts[name][2]) >= 20 for name in attributes.WORDS)
    assert not {"short", "long"} & words_of([*found["t-shirt"], *found["trouser"]])  # their thirds look alike
    assert not {"open", "solid"} & words_of(found["ankle boot"])


def test_combinations_occur_together_and_words_about_equally_often():
    rows = [("dark", "wide"), ("light", "narrow", "red")] * 3
    chosen = authored.choose(rows, 10, seed="x")
    assert len(chosen) == len(set(chosen)) == 10
    assert all(set(words) <= set(rows[0]) or set(words) <= set(rows[1]) for words in chosen)
    assert len(authored.choose(rows, 100, seed="x")) == 3 + 7 + 1 and authored.choose([()], 5, seed="x") == [()]


# a folder of one's own, from the command line to the run


@pytest.mark.filterwarnings("ignore:fewer looks")
def test_a_folder_gets_prompts_without_a_key_and_a_run_takes_them(folder, monkeypatch, capsys):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    dataset = f"folder:{folder}"
    with pytest.raises(FileNotFoundError, match=r"prompts.jsonl is missing; record the prompts with: make prompts .*"):
        check_bank(dataset, "mine")
    assert main(["prompts", "--dataset", dataset, "--model", "template"]) == 0
    shown = capsys.readouterr().out
    assert "colour" in shown and "2 classes authored by template in prompts.jsonl" in shown
    assert check_bank(dataset, "mine") == start_bank(dataset, "mine", ("apple", "box")) == "template"
    found = expand(("apple", "box"), bank=folder / "prompts.jsonl", model="template")
    assert set(looks.COLOURS) & words_of(found["box"])


def test_a_text_file_is_recorded_as_written_by_hand(folder, tmp_path, capsys):
    text, dataset = tmp_path / "mine.txt", f"folder:{folder}"
    lines = [f"{name}: A {name} of kind {i}: see." for name in ("box", "apple") for i in range(3)]
    text.write_text("\ufeff# mine\n\n" + "\n".join(lines), encoding="utf-8")
    assert main(["prompts", "--dataset", dataset, "--bank", str(text), "--n-prompts", "3"]) == 0
    assert "2 classes authored by hand in prompts.jsonl" in capsys.readouterr().out
    records = load_bank(folder / "prompts.jsonl")
    assert {record["author"] for record in records.values()} == {"authored by hand"}
    assert (
        check_bank(dataset, "mine", n_prompts=3) == check_bank(dataset, "mine", n_prompts=3, bank=str(text)) == "hand"
    )
    assert start_bank(dataset, "mine", ("apple", "box"), n_prompts=3, bank=str(text)) == "hand"
    with pytest.raises(PromptError, match="'apple' has 3 prompts.*needed are 12 lines 'CLASS: prompt'.*N_PROMPTS"):
        check_bank(dataset, "mine", bank=str(text))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"box: A box.\ncoat: A coat.\n", "line 2 begins with no class; 'box' has 1 prompts; 'apple' has 0 prompts"),
        (b"", "'box' has 0 prompts; 'apple' has 0 prompts"),
        ("box: Bücher".encode("latin-1"), "no text file in UTF-8"),
        (b"\xff\xfeb\x00", "no text file in UTF-8"),
    ],
)
def test_a_text_file_that_does_not_fit_is_refused(tmp_path, content, problem):
    file = tmp_path / "mine.txt"
    file.write_bytes(content)
    with pytest.raises((ValueError, RuntimeError), match=problem):
        banks.read_text(file, ("box", "apple"), 2)
    with pytest.raises(FileNotFoundError, match="gone.txt is missing; write into it"):
        banks.read_text(tmp_path / "gone.txt", ("box",), 1)


# whose prompts a run uses


@pytest.fixture
def own(tmp_path):
    """Return a function that puts answers of a model for some digits into a bank, and the user's folder."""
    folder = tmp_path / "two"
    for name in ("box", "apple"):
        (folder / name).mkdir(parents=True)

    def put(file, model, names=("box", "apple"), n=2, word="dark", domain="32x32 photo"):
        records = load_bank(file) if file.exists() else {}
        for name, request in compose_all(names, {"domain": domain}, model=model, n_prompts=n).items():
            texts = [f"A {word} {name} number {i}." for i in range(n)]
            record = banks.authored(request, texts, author=model)
            records[record["digest"]] = record
        banks.save_bank(file, records)

    return folder, put


def test_the_model_is_taken_from_the_bank(own):
    folder, put = own
    dataset, file = f"folder:{folder}", folder / "prompts.jsonl"
    put(file, "qwen3:8b")
    assert check_bank(dataset, "mine", n_prompts=2) == "qwen3:8b"
    put(file, "other", names=("box",))
    assert check_bank(dataset, "mine", n_prompts=2) == "qwen3:8b"  # the other's answers are not whole
    put(file, "other")
    assert check_bank(dataset, "mine", n_prompts=2) == "other"  # the latest that is whole
    assert check_bank(dataset, "mine", n_prompts=2, model="qwen3:8b") == "qwen3:8b"


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ({"model": "gpt-4o-mini"}, "of gpt-4o-mini for 'apple', 'box'.*it has answers of qwen3:8b"),
        ({"n_prompts": 3}, "of qwen3:8b for 'apple', 'box' with these parameters .3 prompts a class"),
    ],
)
def test_a_lack_is_named_before_anything_is_written(own, results, asked, part):
    folder, put = own
    put(folder / "prompts.jsonl", "qwen3:8b")
    with pytest.raises(PromptError, match=part):
        start_bank(f"folder:{folder}", "mine", ("apple", "box"), **{"n_prompts": 2} | asked)
    assert not results.exists()
    assert check_bank(f"folder:{folder}", "mine", live=True, **{"n_prompts": 2} | asked) in ("gpt-4o-mini",)


def test_prompts_that_were_recorded_anew_arrive(own, results):
    folder, put = own
    dataset, file = f"folder:{folder}", folder / "prompts.jsonl"
    put(file, "a", names=("apple",))
    with pytest.raises(PromptError, match="of a for 'box'"):
        start_bank(dataset, "mine", ("apple", "box"), n_prompts=2)
    put(file, "a")
    assert start_bank(dataset, "mine", ("apple", "box"), n_prompts=2) == "a"
    (copy,) = results.rglob("prompts.jsonl")
    put(copy, "live", names=("box",))  # the run's own answers stay
    put(file, "b")
    assert start_bank(dataset, "mine", ("apple", "box"), n_prompts=2) == "b" and len(load_bank(copy)) == 5
    put(file, "b", word="light")
    later = copy.stat().st_mtime + 10
    os.utime(file, (later, later))
    start_bank(dataset, "mine", ("apple", "box"), n_prompts=2)
    assert "light" in expand(("box",), bank=copy, model="b", n_prompts=2, domain="32x32 photo")["box"][0]


def test_every_shipped_bank_is_found_without_images(tmp_path):
    for dataset in catalogue.DATASETS:
        assert check_bank(dataset, "mine") == "gpt-4o-mini"
    with pytest.raises(PromptError, match="holds no answer of other for"):
        check_bank("cifar-100", "mine", model="other")
    shutil.copy(catalogue.about("mnist")[1], tmp_path / "other.jsonl")
    with pytest.raises(PromptError, match="holds no answer of gpt-4o-mini for"):
        check_bank("cifar-10", "mine", bank=str(tmp_path / "other.jsonl"))


# damaged banks


def line(**change) -> bytes:
    record = banks.authored(banks.request_of("hand", "box", 1), ["A dark box."], author="me")
    content = {key: value for key, value in (record | change).items() if key != "sha256"}
    return json.dumps(content | {"sha256": banks.digest_json(content)}).encode()


DAMAGE = {
    "0xff": (b"\xff" + line(), "no UTF-8 text"),
    "Latin-1": (line().replace(b"dark", b"d\xe9rk"), "no UTF-8 text"),
    "UTF-16": (b"\xff\xfe" + '{"a": 1}'.encode("utf-16-le"), "no UTF-8 text"),
    "too deep": (b"[" * 100_000, "nested too deep"),
    "a number": (b"7", "a int, no object"),
    "numbers for prompts": (line(prompts=[1, 2]), "its prompts, model or author are no texts"),
    "a number of prompts": (line(prompts=5), "its fields"),
    "a text for prompts": (line(prompts="A dark box."), "its prompts, model or author are no texts"),
    "a number for the model": (line(requested_model=5), "not as its digests say"),
    "a number for the request": (line(request=5, digest=banks.digest_json(5)), "its fields"),
    "cut off": (line()[:-20], "no JSON"),
    "control characters": (line().replace(b"dark", b"d\x00rk"), "no JSON"),
}


@pytest.mark.parametrize(("content", "problem"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_line_is_named_with_what_is_wrong(bank, content, problem):
    bank.write_bytes(line() + b"\n" + content)
    with pytest.raises(RuntimeError, match=rf"line 2 of bank.jsonl is .*{problem}"):
        load_bank(bank)


def test_a_folder_in_a_banks_place_is_named(bank):
    bank.mkdir()
    with pytest.raises(RuntimeError, match="bank.jsonl cannot be read .Is a directory.; put a bank in its place"):
        load_bank(bank)


def test_control_characters_that_were_recorded_are_refused(bank):
    bank.write_bytes(line(prompts=["A d\x07rk box."]))
    with pytest.raises(PromptError, match="holds control characters"):
        expand(("box",), bank=bank, model="hand", n_prompts=1)
