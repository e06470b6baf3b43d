import re
import subprocess
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sega_utils.core import paths


@pytest.fixture(scope="module")
def lock() -> dict:
    return tomllib.loads((paths.ROOT / "uv.lock").read_text())


@pytest.fixture(scope="module")
def dependencies() -> list:
    return yaml.safe_load((paths.ROOT / "environment.yml").read_text())["dependencies"]


def test_the_pins_are_those_of_the_lock(lock, dependencies):
    *pins, project = dependencies[-1]["pip"]
    assert project == "-e ."
    found = {re.fullmatch(r"(\S+)==(\S+)( ; .+)?", pin).group(1, 2) for pin in pins}
    assert found == {
        (package["name"], package["version"]) for package in lock["package"] if package["name"] != "sega-utils"
    }


def test_each_package_has_one_version_for_the_python_of_the_environment(lock, dependencies):
    python = next(item for item in dependencies if str(item).startswith("python="))
    version = python.removeprefix("python=") + ".99"
    assert version in SpecifierSet(lock["requires-python"])
    environment = {
        "python_version": version[:-3],
        "python_full_version": version,
        "sys_platform": "linux",
        "platform_machine": "x86_64",
    }
    wanted = [Requirement(pin) for pin in dependencies[-1]["pip"][:-1]]
    names = [pin.name for pin in wanted if not pin.marker or pin.marker.evaluate(environment)]
    assert {"torch", "pytest", "snakemake"} <= set(names) and len(names) == len(set(names))


def test_make_refuses_a_variable_that_it_does_not_know():
    command = ["make", "--no-print-directory", "help"]
    make = lambda *given: subprocess.run([*command, *given], cwd=paths.ROOT, capture_output=True, text=True)
    typo = make("DATSET=mnist")
    assert typo.returncode and "unknown variable DATSET; known are PYTHON RUN DATASET" in typo.stderr
    assert not typo.stdout
    assert make("RUN=mine", "ENTRIES=components sigma=0.5", "HF_HUB_OFFLINE=0").returncode == 0
