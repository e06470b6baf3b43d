"""The verb that measures what a machine does in a few minutes."""

import argparse

from sega_utils.verbs import DEVICE, verb


@verb(
    "gpu-check",
    ("--run", {"default": "gpu-check", "help": "name of the results folder"}),
    (
        "--dataset",
        {"default": "fashion-mnist-full", "help": "data set of clothes; fashion-mnist comes with the project"},
    ),
    ("--minutes", {"type": float, "default": 9, "help": "of all parts together; what does not fit is named"}),
    ("--parts", {"nargs": "+", "metavar": "NAME", "help": "which; all if absent"}),
    ("--pipeline", {"default": "", "help": "folder of Stable Diffusion, for the part of that name"}),
    DEVICE,
)
def check_gpu(args: argparse.Namespace) -> None:
    """Measure kernels, classifiers and generators on this machine within minutes, and write records of each."""
    from sega_utils.core import numbers, records, runtime
    from sega_utils.studies.scale import gpu_check

    rows = gpu_check.check(
        args.run,
        args.dataset,
        minutes=args.minutes,
        parts=args.parts or list(gpu_check.PARTS),
        device=runtime.start(0, args.device),
        sizes={"pipeline": args.pipeline},
    )
    found = gpu_check.rows(records.read(args.run, args.dataset, gpu_check.STAGE))
    print(numbers.aligned(found), numbers.aligned(rows), sep="\n\n")
