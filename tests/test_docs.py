"""What README and docs print can be run, where they point is there, and what a good artifact carries is sound."""

import ast
import json
import re
import shlex
import shutil
import subprocess
import tomllib

import pytest
import yaml

from sega_utils import __main__ as commands, execute
from sega_utils.core import parameters, paths

PAGES = ["README.md", "ARTIFACT.md", "CHANGELOG.md", "CONTRIBUTING.md"]
PAGES += [
    str(file.relative_to(paths.ROOT))
    for pattern in ("docs/*.md", "data/*.md", "data/*/README.md")
    for file in sorted(paths.ROOT.glob(pattern))
    if "downloads" not in file.parts
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADS = ("make", "docker", "conda", "sudo", "python", ".venv/bin/", "mkdir")


def text_of(page: str) -> str:
    return (paths.ROOT / page).read_text(encoding="utf-8")


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = (paths.ROOT / page).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text_of(page))):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        found = (folder / file).resolve() if file else paths.ROOT / page
        assert found.exists(), f"{page} links to {target}, which is not there"
        if anchor:
            own = str(found.relative_to(paths.ROOT))
            assert anchor in anchors(own), f"{page} links to {target}, but {own} has no such heading"


def test_every_test_of_the_checklist_exists():
    rows = [line for line in text_of("docs/checklist.md").splitlines() if re.match(r"\| (NeurIPS|ACM) ", line)]
    asked = re.findall(r"NeurIPS ([\d, ]+) \|", "\n".join(rows))
    assert [int(number) for numbers in asked for number in numbers.split(",")] == list(range(1, 17))
    badges = re.findall(r"ACM (\w+)", "\n".join(rows))
    assert list(dict.fromkeys(badges)) == ["Available", "Functional", "Reusable", "Reproduced", "Replicated"]
    ids = [name for row in rows for name in re.findall(r"`(tests/[^`]+)`", row)]
    assert len(ids) > 15
    for name in ids:
        file, _, function = name.partition("::")
        assert f"\ndef {function}(" in text_of(file), f"there is no test {name}"
    for row in rows:
        links, answer = "](" in row, row.split(" | ")[2]
        assert links or answer.startswith("not applicable"), f"says {answer!r} without a file: {row}"


def written() -> list[tuple[str, str]]:
    """Return every command that a page prints, with the page: lines of fences, and code among the words."""
    found = []
    for page in PAGES:
        text = text_of(page)
        lines = [line for kind, block in FENCE.findall(text) if not kind for line in block.splitlines()]
        spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
        for line in [*lines, *spans]:
            line = re.split(r"\s+#\s", line)[0].strip()
            if re.match(rf"({'|'.join(map(re.escape, HEADS))})\S* ", f"{line} ") and (" " in line):
                found.append((page, line))
    return list(dict.fromkeys(found))


def check_make(words: list[str]) -> None:
    done = subprocess.run(["make", "--dry-run", *words[1:]], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def check_verb(words: list[str]) -> None:
    if not words or words[0] in commands.VERBS and len(words) == 1:
        return  # names a verb, among words
    try:
        commands.check(commands.parser().parse_args(words))
    except SystemExit as end:
        assert end.code == 0, f"refused: {words}"


def check_execute(words: list[str], monkeypatch) -> None:
    def only_check(notebook, given, *, params_file, output):
        file = paths.ROOT / notebook
        parameters.check(
            (parameters.read_file(params_file, file) if params_file else {}) | given, parameters.read(file)
        )
        return file

    monkeypatch.setattr(execute, "execute", only_check)
    monkeypatch.setattr(execute.signal, "signal", lambda *_: None)
    assert execute.main(words) == 0


def check_snakemake(words: list[str]) -> None:
    from snakemake import cli

    _, args = cli.parse_args(words)
    snakefile = (paths.ROOT / args.snakefile).read_text(encoding="utf-8")
    for name in args.targets or []:
        assert re.search(rf"^rule {name}:", snakefile, re.MULTILINE), f"{args.snakefile} has no rule {name}"
    given = dict(item.split("=", 1) for item in args.config or [])
    read = set(re.findall(r"config(?:\.get\(|\.setdefault\(|\[)\"(\w+)\"", snakefile))
    assert given.keys() <= read, f"{args.snakefile} reads {sorted(read)}, not {sorted(given)}"
    assert all((paths.ROOT / value).is_file() for value in given.values() if value.endswith(".yaml"))
    assert (paths.ROOT / args.workflow_profile / "config.yaml").is_file()


def check_uv(words: list[str]) -> None:
    groups = tomllib.loads(text_of("pyproject.toml"))["dependency-groups"]
    named = [words[i + 1] for i, word in enumerate(words) if word == "--group"]
    assert words[0] in {"sync", "export"} and set(named) <= groups.keys()


def check(command: str, monkeypatch) -> None:
    """Refuse a command that could not be run as it is printed; no command does its work."""
    words = shlex.split(command.partition(" && ")[0])
    program, rest = words[0].removeprefix(".venv/bin/"), words[1:]
    if program == "make":
        check_make(words)
    elif program == "python" and rest[:2] == ["-m", "sega_utils"]:
        check_verb(rest[2:])
    elif program == "python" and rest[:2] == ["-m", "sega_utils.execute"]:
        check_execute(rest[2:], monkeypatch)
    elif program == "snakemake":
        check_snakemake(rest)
    elif program == "uv":
        check_uv(rest)
    elif program == "docker":
        assert rest[0] in {"build", "run", "buildx"}
        if "make" in rest:
            check_make(rest[rest.index("make") :])
    elif program in {"python", "sudo", "conda", "pytest", "ruff"}:
        options = {"env", "create", "-f", "-q", "format", "check"}
        files = [word for word in rest if word not in options and not word.isupper() and "_THE_" not in word]
        assert files and all((paths.ROOT / file).exists() for file in files), f"{files}: not all are there"
    else:
        assert program == "mkdir", f"how is {command!r} to be checked?"


@pytest.mark.parametrize(("page", "command"), written(), ids=lambda value: value[:60])
def test_commands_can_be_run(page, command, monkeypatch):
    check(command, monkeypatch)


@pytest.mark.parametrize(
    "command",
    [
        "make rnu",
        "make run DATSET=mnist",
        "python -m sega_utils tabels",
        "python -m sega_utils verify --reference results/reference/embedded",
        "python -m sega_utils.execute notebooks/03_projector.ipynb -p SIGMAS 0.5",
        ".venv/bin/snakemake --snakefile shards.smk --workflow-profile profiles/paper --config canditates=10",
        ".venv/bin/uv sync --group slrum",
        "sudo tests/slrum.sh",
        "rm -rf results",
    ],
)
def test_a_wrong_command_is_noticed(command, monkeypatch):
    with pytest.raises((AssertionError, ValueError)):
        check(command, monkeypatch)


def test_commands_are_found_in_fences_and_among_words():
    found = {command for page, command in written() if page == "README.md"}
    assert {"make run", "make test"} <= found and len(found) > 12


@pytest.mark.parametrize("page", PAGES)
def test_python_that_is_shown_is_python(page):
    for kind, block in FENCE.findall(text_of(page)):
        if kind == "python":
            ast.parse(block)


# Words that say who won; what a run found stands between markers, where it is computed.
VERDICTS = (
    r"\b(not here|by far|far (less|more)|beats?|outperforms?|(gains|does|do) as (much|well)|no gain|wins|loses)\b"
)


def test_no_verdict_is_typed_into_the_words_of_the_readme():
    computed = re.compile(r"<!-- (\w+):begin -->.*?<!-- \1:end -->", re.DOTALL)
    prose = FENCE.sub("", computed.sub("", text_of("README.md")))
    assert [found[0] for found in re.finditer(VERDICTS, prose, re.IGNORECASE)] == []


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions in their order, lines joined, comments left out."""
    lines = [line for line in text_of("Dockerfile").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(" ", 1)) for line in joined.splitlines() if line]


def test_the_container_is_pinned_and_not_root():
    found = instructions()
    bases = [value for name, value in found if name == "FROM"]
    stages = [re.search(r" AS (\S+)$", value)[1] for value in bases]
    for value in bases:
        base = value.split(" ")[0]
        assert base in stages or re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", base), f"{base} is not pinned"
        assert ":latest" not in base
    assert [value for name, value in found if name == "USER"][-1] not in {"root", "0"}
    assert {name for name, _ in found} <= {"FROM", "RUN", "USER", "WORKDIR", "COPY", "CMD"}
    for name, value in found:
        if name == "RUN" and "apt-get install" in value:
            assert "--no-install-recommends" in value and "rm -rf /var/lib/apt/lists/*" in value
        if name == "COPY":
            *sources, _ = [word for word in value.split() if not word.startswith("--")]
            assert all((paths.ROOT / source).exists() for source in sources) and "--chown=" in value
        if name == "CMD":
            check_make(json.loads(value))


def test_the_devcontainer_builds_a_stage_of_the_dockerfile_and_installs():
    found = json.loads(text_of(".devcontainer/devcontainer.json"))
    stages = {value.partition(" AS ")[2] for name, value in instructions() if name == "FROM"}
    assert found["build"]["target"] in stages
    assert (paths.ROOT / ".devcontainer" / found["build"]["dockerfile"]).resolve() == paths.ROOT / "Dockerfile"
    assert ("USER", found["remoteUser"]) in instructions()
    check_make(shlex.split(found["postCreateCommand"]))


def test_the_context_leaves_out_what_git_ignores_and_is_large():
    ignored = set(text_of(".dockerignore").split())
    assert {"**/.venv", ".snakemake", "build", "data/downloads"} <= ignored


def test_docker_finds_no_fault():
    """The image is not built: that would take gigabytes. BuildKit's own checks read the file."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no Docker daemon here")
    done = subprocess.run(["docker", "build", "--check", "."], cwd=paths.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_citation_names_the_version():
    found = yaml.safe_load(text_of("CITATION.cff"))
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= found.keys()
    assert str(found["version"]) == project["version"] and found["license"] == project["license"]
    assert f"## {project['version']}" in text_of("CHANGELOG.md")
    poster = text_of("data/paper/README.md")
    assert all(author["family-names"] in poster for author in found["references"][0]["authors"])


def test_the_citation_is_valid():
    cffconvert = pytest.importorskip("cffconvert", reason="cffconvert is not installed")
    cffconvert.Citation(text_of("CITATION.cff")).validate()
