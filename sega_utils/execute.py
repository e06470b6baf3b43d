"""Run one notebook with papermill; only a whole run gets the output's name.

python -m sega_utils.execute notebooks/05_training.ipynb -p DATASET fashion-mnist -f notebooks/params/paper.yaml
python -m sega_utils.execute --write notebooks/05_training.ipynb
"""

import argparse
import fcntl
import json
import logging
import os
import re
import signal
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat

from sega_utils.core import artifacts, parameters, paths


def asked(notebook: Path, given: dict, params_file: Path | None) -> tuple[dict, Path]:
    """Return what a notebook's parameters are to be, and the folder of its run's executed notebooks.

    Raises:
        FileNotFoundError, ValueError: as ``execute``.
    """
    known = parameters.read(notebook)
    given = parameters.check((parameters.read_file(params_file, notebook) if params_file else {}) | given, known)
    final = {name: given.get(name, parameter.default) for name, parameter in known.items()}
    if not {"RUN", "DATASET"} <= final.keys():
        raise ValueError(f"{paths.shown(notebook)} has no parameters RUN and DATASET, which say where results go")
    paths.run_name(final["RUN"])
    parameters.check_seeds(final)
    return given, paths.artifact(final["RUN"], final["DATASET"], "notebooks")


def run_cells(notebook: Path, given: dict, copy: Path) -> nbformat.NotebookNode:
    """Execute all cells in a fresh kernel and return the notebook; ``copy`` has what ran, whenever it stops.

    Raises:
        RuntimeError: a cell failed, or the notebook stopped itself.
    """
    import papermill  # takes seconds, too long to wait for the news of a typing error
    from traitlets.config import Config

    # it cannot read every literal, and says so; ``parameters`` has checked them all
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        with shown_progress():
            # papermill saves after each cell: under a name that is true whenever and however the run is stopped
            executed = papermill.execute_notebook(
                str(notebook.resolve()),
                str(copy),
                given,
                kernel_name="python3",
                language="python",
                cwd=paths.ROOT,
                progress_bar=not os.environ.get("CI"),
                coalesce_streams=True,
                start_timeout=300,
                config=Config({"KernelManager": {"transport_encryption": "auto"}}),
                shutdown_kernel="immediate",
            )
        code = [cell for cell in executed.cells if cell.cell_type == "code" and cell.source.strip()]
        if any(cell.execution_count is None for cell in code):
            raise RuntimeError("it stopped itself before its last cell")
    except (papermill.exceptions.PapermillException, RuntimeError) as error:
        raise RuntimeError(explain(error, notebook, copy)) from error
    finally:
        copy.write_text(clean(copy.read_text(encoding="utf-8")), encoding="utf-8")
    return executed


def execute(
    notebook: Path, given: dict | None = None, *, params_file: Path | None = None, output: Path | None = None
) -> Path:
    """Execute a notebook from top to bottom and return where the executed copy is.

    Args:
        given: parameter to value, as its type or as text; goes before ``params_file``.
        params_file: see ``parameters.read_file``.
        output: absent, ``results/<RUN>/<DATASET>/notebooks/<name>.ipynb``. The notebook itself gets the outputs and
            execution counts and no other trace of the run, so that the same run writes the same file.

    Raises:
        FileNotFoundError: no such notebook or parameters file.
        ValueError: not a notebook with a usable parameters cell, or a parameter that is not allowed.
        RuntimeError: a cell failed; what ran is kept as ``<name>.failed.ipynb``.
        OSError: the output cannot be written.
    """
    given, folder = asked(notebook, given or {}, params_file)
    output = Path(output or folder / notebook.name).resolve()
    in_place = output == notebook.resolve()
    failed = (folder if in_place else output.parent) / f"{output.stem}.failed.ipynb"

    with artifacts.advised(output):
        for place in (output, failed):
            place.parent.mkdir(parents=True, exist_ok=True)
        with open(failed, "a") as claim:
            wait_for(claim, notebook)
            print(f"executing {paths.shown(notebook)}", file=sys.stderr)
            if not in_place:
                output.unlink(missing_ok=True)  # an earlier run's success would hide this one's failure
            executed = run_cells(notebook, given, failed)
            if in_place:
                strip(executed)
            else:
                executed.metadata.papermill.update(input_path=paths.shown(notebook), output_path=paths.shown(output))
            artifacts.save_text(output, clean(nbformat.writes(executed)) + "\n")
            failed.unlink()
    return output


@contextmanager
def shown_progress() -> Iterator[None]:
    """Show on the terminal what loops in the kernel tell of their progress, see ``runtime.progress``."""
    with tempfile.NamedTemporaryFile("r", prefix="sega-progress-") as file:
        os.environ["SEGA_PROGRESS"] = file.name
        done = threading.Event()

        def follow() -> None:
            while not done.wait(1):
                sys.stderr.write(file.read())

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            del os.environ["SEGA_PROGRESS"]


def wait_for(claim: object, notebook: Path) -> None:
    """Lock an open file until it is closed, after whoever else has it, e.g. what a killed pipeline left running."""
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another process is executing {paths.shown(notebook)}; waiting for it", file=sys.stderr)
        fcntl.flock(claim, fcntl.LOCK_EX)


def explain(error: Exception, notebook: Path, failed: Path) -> str:
    """Return in a few lines which cell failed, how, and where to read on."""
    if hasattr(error, "ename"):
        where = f"{paths.shown(notebook)} failed in cell [{error.exec_count}]:\n{textwrap.indent(error.source, '    ')}"
        what = f"{error.ename}: {error.evalue}"
    else:
        where, what = f"{paths.shown(notebook)} failed:", f"{type(error).__name__}: {error}"
        what += "; mostly that is a lack of memory" if type(error).__name__ == "DeadKernelError" else ""
    return clean(f"{where}\n{what}\nWhat ran, with the traceback: {paths.shown(failed)}")


def clean(text: str) -> str:
    """Return text or JSON without this machine's folders and without the values of secret environment variables."""
    for name, value in os.environ.items():
        if re.search("KEY|TOKEN|SECRET|PASSWORD", name, re.IGNORECASE) and len(value) >= 8:
            text = text.replace(json.dumps(value)[1:-1], f"<{name}>")
    folders = {paths.results_root(): "results/", paths.ROOT: "", Path(sys.prefix): "<python>/", Path.home(): "~/"}
    for folder, shown in folders.items():
        if folder != Path("/"):
            folder = re.escape(json.dumps(str(folder))[1:-1])
            text = re.sub(rf"{folder}/", shown, text)
            text = re.sub(rf"{folder}(?![\w.-])", shown.rstrip("/") or ".", text)
    return text


def strip(notebook: nbformat.NotebookNode) -> None:
    """Remove what differs between two runs of the same notebook: times, versions and papermill's own entries."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata.tags} if cell.metadata.get("tags") else {}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, 1 for a run that failed, 2 for a request that is wrong, 130 if interrupted."""
    parser = argparse.ArgumentParser(
        "python -m sega_utils.execute", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False
    )
    parser.register("action", None, parameters.Once)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter")
    parser.add_argument("-f", type=Path, metavar="FILE", help="YAML of parameters; -p goes first")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-o", type=Path, metavar="OUTPUT", help="default: results/<RUN>/<DATASET>/notebooks/<name>.ipynb"
    )
    where.add_argument("--write", action="store_true", help="write the outputs into the notebook itself, to commit it")
    given = sys.argv[1:] if arguments is None else arguments
    for flag, name, value in zip(given, given[1:], given[2:]):
        if flag == "-p" and re.match(r"-[^\d.]", value):  # which argparse takes for an option
            parser.error(f"{name} is {value!r}; what begins with - can only be a number")
    args = parser.parse_args(given)
    if twice := [name for i, (name, _) in enumerate(args.p) if name in dict(args.p[:i])]:
        parser.error(f"-p {twice[0]} is given twice; leave one")
    if args.write and (args.p or args.f):
        parser.error("--write is for a run at the defaults; leave out -p and -f")
    if args.o and args.o.resolve() == args.notebook.resolve():
        parser.error("OUTPUT is the notebook itself; use --write to run it at its defaults and keep the outputs")
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # a kernel that the user once installed must not stand in for ours
    os.environ.pop("JUPYTER_PATH", None)
    os.environ["SEGA_RESULTS"] = str(paths.results_root())  # a relative one means another folder to the kernel
    if args.write:
        os.environ["CI"] = "1"  # no progress bars among the outputs
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print(
            paths.shown(
                execute(args.notebook, dict(args.p), params_file=args.f, output=args.notebook if args.write else args.o)
            )
        )
        return 0
    except KeyboardInterrupt:
        print("interrupted; what ran so far is in <name>.failed.ipynb", file=sys.stderr)
        return 130
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
