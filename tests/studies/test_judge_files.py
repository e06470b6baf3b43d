import pytest
import torch

from sega_utils.core import artifacts
from sega_utils.data import outside
from sega_utils.studies.judge import arms as judge_arms, files as judge_files
from sega_utils.training import classifiers


@pytest.mark.parametrize("arm", judge_arms.ARMS)
def test_the_snippet_of_torchvision_runs_and_does_what_the_arm_does(arm):
    found: dict = {}
    exec(judge_files.transform(arm, side=32, n=3, mirrors=False), found)
    torch.manual_seed(0)
    images = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    batch = torch.stack([found["of_each_image"](image) for image in images])
    mixed, targets = found["of_each_batch"](batch, torch.tensor([0, 1, 2, 0]))
    assert mixed.shape == batch.shape and 0 <= float(batch.min()) <= float(batch.max()) <= 1
    assert (targets.ndim == 2) == ("CutMix" in arm)
    assert ("Trivial" in arm) == ("Trivial" in str(found["steps"])) and "Flip" not in str(found["steps"])
    assert ("turn" in arm) == ("RandomRotation" in str(found["steps"]))


def test_the_classifier_is_handed_out_with_its_temperature_and_as_onnx_where_that_is_installed(tmp_path):
    job = judge_arms.Job(judge_arms.PLAIN)
    torch.manual_seed(0)
    model = classifiers.build("resnet8-half", n_classes=3, channels=3).eval()
    meta = {"classifier": "resnet8-half", "n_classes": 3, "channels": 3, "side": 32}
    artifacts.save_tensors(judge_arms.weights_file(tmp_path, job), model.state_dict(), meta)
    made = judge_files.write(tmp_path, job, names=("a", "b", "c"), temperature=2.0, mirrors=True)
    restored, names = judge_files.load_classifier(tmp_path / "use" / "classifier.safetensors")
    images = torch.rand(2, 3, 32, 32)
    assert torch.allclose(restored(images) * 2, model(images)) and names == ("a", "b", "c")
    assert all((tmp_path / "use" / name).exists() for name in made)
    assert ("classifier.onnx" in made) == (judge_files.find_spec("onnx") is not None)


def test_the_layer_on_a_frozen_backbone_is_handed_out_and_restored(tmp_path, monkeypatch):
    class Means(torch.nn.Module):
        num_features = 3

        def forward(self, images):
            return images.mean((2, 3))

    known = outside.Outside("means", "none", Means(), 32, (0.5,) * 3, (0.5,) * 3, "0" * 64)
    monkeypatch.setattr(outside, "load", lambda name: known)
    layer = {"weight": torch.randn(2, 3), "bias": torch.randn(2)}
    made = judge_files.write_outside(tmp_path, layer, backbone="means", names=("a", "b"), temperature=2.0)
    model, names = judge_files.load_outside(tmp_path / "use" / "outside.safetensors")
    images = torch.rand(4, 1, 32, 32)
    features = ((images - 0.5) / 0.5).mean((2, 3)).expand(-1, 3)
    assert torch.allclose(model(images), (features @ layer["weight"].T + layer["bias"]) / 2, atol=1e-5)
    assert names == ("a", "b") and model.side == 32 and all((tmp_path / "use" / name).exists() for name in made)
    compile((tmp_path / "use" / "predict_outside.py").read_text(), "predict_outside.py", "exec")
