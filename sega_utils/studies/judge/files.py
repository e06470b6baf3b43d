"""What the judge hands out as files: the classifier, how to use it, the synthetic images and where each comes from."""

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from sega_utils.core import artifacts
from sega_utils.data import outside
from sega_utils.studies.judge import arms as judge_arms, folder as judge_folder
from sega_utils.training import finetuning

PROVENANCE = ("file", "class", "augmenter", "seed", "place", "predicted", "probability", "copy of")
PREDICT = '''"""Say what is in pictures: python predict.py PICTURE ..."""

import sys
from pathlib import Path

import torch

from sega_utils.data.decoding import decode
from sega_utils.studies.judge import files as judge_files

model, names = judge_files.{load}(Path(__file__).parent / "{file}")
for file in sys.argv[1:]:
    image = torch.from_numpy(decode(Path(file).read_bytes(), size=model.side))[None, : model.channels] / 255
    sure, best = model(image).softmax(1)[0].max(0)
    print(f"{{file}}: {{names[best]}} ({{sure:.0%}})")
'''
TRANSFORM = '''"""The augmentation of {arm}, for torchvision; images are uint8 tensors (C, {side}, {side})."""

import torch
from torchvision.transforms import v2

steps = [{steps}]
of_each_image = v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True)])
of_each_batch = {batch}  # takes a batch of images and its labels
'''


class Scaled(nn.Module):
    """A classifier whose logits are divided by a temperature, so that its probabilities can be believed."""

    def __init__(self, model: nn.Module, temperature: float, side: int, channels: int):
        super().__init__()
        self.model, self.temperature, self.side, self.channels = model, temperature, side, channels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images float32 (N, C, S, S) in [0, 1] to logits (N, K)."""
        return self.model(images) / self.temperature


def load_classifier(file: Path) -> tuple[Scaled, tuple[str, ...]]:
    """Return the classifier that ``write`` has handed out, and the names of its classes.

    Raises:
        FileNotFoundError, ArtifactError: the file is missing or damaged.
    """
    model = judge_arms.restore(file)
    side, channels = model.meta["side"], model.meta["channels"]
    return Scaled(model, model.meta["temperature"], side, channels).eval(), tuple(model.meta["names"])


def write(folder: Path, job: judge_arms.Job, *, names: tuple[str, ...], temperature: float, mirrors: bool) -> list[str]:
    """Write classifier, example, transform, and ONNX where it is installed, into ``folder / "use"``; return the names.

    Args:
        folder: of the judge; job: the training whose classifier is handed out.
    """
    use = folder / "use"
    tensors, meta = artifacts.load_tensors(judge_arms.weights_file(folder, job))
    meta = {k: v for k, v in meta.items() if k != "sha256"} | {"temperature": temperature, "names": names}
    artifacts.save_tensors(use / "classifier.safetensors", tensors, meta | {"arm": job.arm, "augmenter": job.augmenter})
    artifacts.save_text(use / "predict.py", PREDICT.format(load="load_classifier", file="classifier.safetensors"))
    artifacts.save_text(use / "transform.py", transform(job.arm, side=meta["side"], n=len(names), mirrors=mirrors))
    made = ["classifier.safetensors", "predict.py", "transform.py"]
    return made + (["classifier.onnx"] if write_onnx(use) else [])


def write_outside(
    folder: Path, layer: dict[str, torch.Tensor], *, backbone: str, names: tuple[str, ...], temperature: float
) -> list[str]:
    """Write the layer on a backbone's frozen features, with an example, into ``folder / "use"``; return the names.

    Args:
        layer: ``weight`` (K, d) and ``bias`` (K,).
    """
    use, meta = folder / "use", {"backbone": backbone, "names": names, "temperature": temperature}
    artifacts.save_tensors(use / "outside.safetensors", layer, meta)
    artifacts.save_text(use / "predict_outside.py", PREDICT.format(load="load_outside", file="outside.safetensors"))
    return ["outside.safetensors", "predict_outside.py"]


def load_outside(file: Path) -> tuple[Scaled, tuple[str, ...]]:
    """Return the frozen backbone with the layer that ``write_outside`` has handed out, and the names of its classes.

    Raises:
        FileNotFoundError, ArtifactError: the file is missing or damaged. ValueError: as ``outside.load``.
    """
    layer, meta = artifacts.load_tensors(file)
    known = outside.load(meta["backbone"])
    model = finetuning.Tuned(known, len(meta["names"]), (layer["weight"], layer["bias"]))
    return Scaled(model, meta["temperature"], known.side, 3).eval().requires_grad_(False), tuple(meta["names"])


def transform(arm: str, *, side: int, n: int, mirrors: bool) -> str:
    """Return a snippet of torchvision that augments as an arm does."""
    own = judge_arms.ARMS[arm]
    steps = [f"v2.RandomCrop({side}, padding={side // 16})", *(["v2.RandomHorizontalFlip()"] if mirrors else [])]
    turned = [f'v2.Pad({side // 2}, padding_mode="reflect")', "v2.RandomRotation(180, v2.InterpolationMode.BILINEAR)"]
    policy = {"none": [], "trivial": ["v2.TrivialAugmentWide()"], "turn": [*turned, f"v2.CenterCrop({side})"]}
    steps += policy[own.get("policy", "none")]
    batch = f"v2.CutMix(alpha=1.0, num_classes={n})" if own.get("mixing") == "cutmix" else "v2.Identity()"
    return TRANSFORM.format(arm=arm, side=side, steps=", ".join(steps), batch=batch)


def write_onnx(use: Path) -> bool:
    """Write the classifier as ONNX if that is installed, and check it against torch; return whether it was.

    Raises:
        ArtifactError: the two do not agree.
    """
    if find_spec("onnx") is None:
        return False
    from onnx.reference import ReferenceEvaluator

    model, _ = load_classifier(use / "classifier.safetensors")
    images = torch.rand(4, model.channels, model.side, model.side, generator=torch.Generator().manual_seed(0))
    with artifacts.atomic(use / "classifier.onnx") as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constants that are not folded
        names = {"input_names": ["images"], "output_names": ["logits"]}
        axes = {"images": {0: "n"}, "logits": {0: "n"}}
        torch.onnx.export(model, (images[:2],), temporary, dynamo=False, dynamic_axes=axes, **names)
        theirs = ReferenceEvaluator(str(temporary)).run(None, {"images": images.numpy()})[0]
        gap = float(np.abs(theirs - model(images).detach().numpy()).max())
        if not gap < 1e-3:
            raise artifacts.ArtifactError(f"the ONNX file differs from torch by {gap:g} in its logits; it is not kept")
    return True


def write_synthetic(folder: Path, augmenter: str, pictures: judge_folder.Pictures, *, most: int) -> int:
    """Write the pool of seed 0 as ``use/synthetic/CLASS/*.png`` with ``provenance.csv``; return how many images.

    Copies of training images have a row, with the file they copy, and no picture.
    """
    judged, pool = judge_folder.load(folder), judge_arms.load_pool(folder, augmenter, judge_arms.WHOLE, 0)
    own, rows, written = judge_arms.part_of(judged, judge_arms.WHOLE)[0], [], 0
    for i, (image, c) in enumerate(zip(pool["images"], pool["class_ids"].tolist(), strict=True)):
        name, copied = pictures.names[c], int(pool["nearest"][i])
        file = f"synthetic/{pictures.class_folders[c]}/{augmenter}-seed0-{i:05d}.png"
        if copied < 0:
            if written == most:
                break
            pixels = image.permute(1, 2, 0).squeeze(2).numpy()
            with artifacts.atomic(folder / "use" / file) as temporary:
                Image.fromarray(pixels).save(temporary, "PNG")
            written += 1
        source = pictures.files[own[copied]].relative_to(pictures.root).as_posix() if copied >= 0 else ""
        guess = {"predicted": pictures.names[pool["predicted"][i]], "probability": float(pool["sure"][i])}
        row = {"file": "" if source else file, "class": name, "augmenter": augmenter, "seed": 0, "place": i}
        rows.append(row | guess | {"copy of": source})
    artifacts.save_csv(folder / "use" / "synthetic" / "provenance.csv", rows, PROVENANCE)
    return written
