import json
import shutil

import pytest
from llm_server import KEY, answer, good_prompts, serve

from sega_utils.__main__ import main
from sega_utils.data import catalogue
from sega_utils.data.published import FASHION_MNIST_CLASSES
from sega_utils.text.banks import load_bank
from sega_utils.text.prompts import price, tokens


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def bank(tmp_path):
    return tmp_path / "bank.jsonl"


def run(server, bank, *more: str) -> int:
    return main(["prompts", "--bank", str(bank), "--base-url", server.url, "--n-prompts", "3", *more])


def test_tokens_are_summed_over_the_answers_that_have_a_count():
    usages = [{"prompt_tokens": 100, "completion_tokens": 20}, None, {"prompt_tokens": 50, "completion_tokens": 7}]
    used = tokens({"usage": usage} for usage in usages)
    assert used == {"answers": 3, "unmetered": 1, "read": 150, "written": 27}
    assert price(used, (2.0, 10.0)) == pytest.approx((150 * 2 + 27 * 10) / 1e6)
    assert tokens([]) == {"answers": 0, "unmetered": 0, "read": 0, "written": 0}


def test_a_bank_is_recorded_with_its_cost_and_then_replayed_for_nothing(bank, capsys):
    with serve() as server:
        assert run(server, bank, "--model", "tiny", "--prices", "1000", "2000") == 0
        assert [task["class_name"] for task in server.tasks] == list(FASHION_MNIST_CLASSES)
        shown = capsys.readouterr().out
        assert "10 new answers of tiny in bank.jsonl: 90 tokens read, 70 written; 0 answers came without" in shown
        assert "cost: 0.2300" in shown
        assert run(server, bank, "--model", "tiny") == 0 and len(server.tasks) == 10
    shown = capsys.readouterr().out
    assert "0 new answers of tiny" in shown and "give --prices" in shown
    assert len(load_bank(bank)) == 10 and KEY not in bank.read_text()


def test_only_what_the_bank_lacks_is_asked_and_paid(bank, capsys):
    with serve() as server:
        run(server, bank, "--model", "tiny")
        whole = bank.read_text().splitlines()
        bank.write_text("\n".join(whole[:8]) + "\n")
        capsys.readouterr()
        assert run(server, bank, "--model", "tiny") == 0 and len(server.tasks) == 12
    assert "2 new answers of tiny in bank.jsonl: 18 tokens read, 14 written" in capsys.readouterr().out


def test_what_was_recorded_before_a_failure_stays(bank, capsys, monkeypatch):
    with serve(answer(good_prompts("t-shirt", 3)), *[answer(["no"])] * 3) as server:
        assert run(server, bank, "--model", "tiny") == 1
    error = capsys.readouterr().err
    assert "error: no prompts for class 'trouser' from tiny" in error and KEY not in error
    assert [json.loads(line)["prompts"] for line in bank.read_text().splitlines()] == [good_prompts("t-shirt", 3)]
    monkeypatch.delenv("OPENAI_API_KEY")
    assert run(server, bank) == 1
    assert "there is no key" in capsys.readouterr().err


def test_without_a_bank_the_data_sets_own_is_completed(tmp_path, monkeypatch, capsys):
    shutil.copy(catalogue.about("fashion-mnist")[1], tmp_path / "prompts.jsonl")
    about = catalogue.about
    monkeypatch.setattr(catalogue, "about", lambda name: (about(name)[0], tmp_path / "prompts.jsonl"))
    monkeypatch.delenv("OPENAI_API_KEY")
    assert main(["prompts", "--dataset", "fashion-mnist"]) == 0  # all of it is there: nothing is asked
    assert "0 new answers of gpt-4o-mini in prompts.jsonl" in capsys.readouterr().out
