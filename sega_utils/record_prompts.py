"""Record a data set's prompts and say what they cost; a bank that holds some of them already is completed.

    python -m sega_utils.record_prompts --dataset cifar-10 --model gpt-4o-mini --prices 0.15 0.60

The key is read from OPENAI_API_KEY. Prices change: give the provider's of today.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from sega_utils import data, paths, prompts, runtime
from sega_utils.bank import load_bank


def tokens(records: Iterable[dict]) -> dict[str, int]:
    """Return sums over recorded answers: ``answers``, ``unmetered`` (without usage), tokens ``read`` and ``written``.

    An answer that had to be asked for again counts once: only the valid one is recorded.
    """
    usages = [record["usage"] for record in records]
    metered = [usage for usage in usages if usage]
    return {
        "answers": len(usages), "unmetered": len(usages) - len(metered),
        "read": sum(usage["prompt_tokens"] for usage in metered),
        "written": sum(usage["completion_tokens"] for usage in metered),
    }  # fmt: skip


def cost(used: dict[str, int], prices: tuple[float, float]) -> float:
    """Return what tokens cost, in the currency of the prices for a million tokens read and a million written."""
    return (used["read"] * prices[0] + used["written"] * prices[1]) / 1e6


def record(
    dataset: str, *, model: str, bank: Path | None = None, base_url: str | None = None, n_prompts: int = 12
) -> dict[str, int]:
    """Ask an LLM for the prompts of every class that a bank lacks, and return the ``tokens`` of the new answers.

    Args:
        bank: the data set's own in ``data/prompts/`` if absent.

    Raises:
        PromptError, ValueError, FileNotFoundError, ArtifactError: as ``prompts.expand`` and ``data.load``.
    """
    told, recorded = data.about(dataset)
    bank = bank or recorded
    known = load_bank(bank) if bank.exists() else {}
    class_names = data.load(dataset, "test").class_names
    prompts.expand(class_names, bank=bank, n_prompts=n_prompts, model=model, live=True, base_url=base_url, **told)
    return tokens(answer for digest, answer in load_bank(bank).items() if digest not in known)


@runtime.command
def main(arguments: list[str] | None = None) -> None:
    """Record prompts and print their cost."""
    parser = argparse.ArgumentParser("python -m sega_utils.record_prompts", description=main.__doc__)
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--model", default="gpt-4o-mini")
    parser.add_argument("--bank", type=Path, help="JSONL file; the data set's own in data/prompts if absent")
    parser.add_argument("--base-url", help="of any server compatible with OpenAI's")
    parser.add_argument("--n-prompts", type=int, default=12, help="prompts a class")
    parser.add_argument("--prices", type=float, nargs=2, metavar=("READ", "WRITTEN"), help="of a million tokens")
    args = parser.parse_args(arguments)
    used = record(args.dataset, model=args.model, bank=args.bank, base_url=args.base_url, n_prompts=args.n_prompts)
    bank = args.bank or data.about(args.dataset)[1]
    print(f"{used['answers']} new answers of {args.model} in {paths.shown(bank)}: {used['read']:,} tokens read, "
          f"{used['written']:,} written; {used['unmetered']} answers came without a count")  # fmt: skip
    print(f"cost: {cost(used, args.prices):.4f}" if args.prices else "cost: unknown; give --prices READ WRITTEN")


if __name__ == "__main__":
    sys.exit(main())
