"""Every check of the project in one go: `make test`. With `sync`, bring what is generated up to date instead.

Generated from the notebooks are the package and README.md. The checks regenerate them and fail if that changes
anything, so that what is committed is always what the notebooks say.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "nbs"
CHECKS = ROOT / "out" / "check"  # what the checks themselves write
BIN = Path(sys.executable).parent


def call(*words: str | Path, **environment: str) -> None:
    "Run a program of the virtual environment; end with its status when it fails."
    inherited = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **environment}
    status = subprocess.run([str(word) for word in words], cwd=ROOT, env=inherited, stdin=subprocess.DEVNULL).returncode
    if status:
        sys.exit(f"check failed: {shlex.join(str(word) for word in words)} (status {status})")


def notebooks(*folders: str) -> list[Path]:
    "The notebooks of some folders of nbs/, in reading order."
    return sorted(path for folder in folders for path in (NOTEBOOKS / folder).glob("*.ipynb"))


CHAPTERS = ("1_foundations", "2_build", "3_deploy", "4_monitor", "5_project")


def generate() -> None:
    "Export the library, clean the notebooks, write README.md from index.ipynb."
    call("nbdev_export")
    call("nbdev_clean")
    write_readme()


def write_readme() -> None:
    "README.md is the prose of index.ipynb, the home page of the site: its links lead from the root, its pictures stay on the site."
    cells = json.loads((NOTEBOOKS / "index.ipynb").read_text(encoding="utf-8"))["cells"]
    text = "\n\n".join("".join(cell["source"]).strip() for cell in cells if cell["cell_type"] == "markdown")
    text = re.sub(r"\]\((?!https?:|#|nbs/)([^)\s]+)\)", r"](nbs/\1)", text)
    (ROOT / "README.md").write_text(text + "\n", encoding="utf-8")


def contents() -> dict[str, bytes]:
    "All files that generating may touch."
    paths = [ROOT / "README.md", *(ROOT / "mlops_course").glob("*.py"), *NOTEBOOKS.rglob("*.ipynb")]
    return {str(path.relative_to(ROOT)): path.read_bytes() for path in paths if ".ipynb_checkpoints" not in path.parts}


def check_generated() -> None:
    "Generating again changes nothing."
    before = contents()
    generate()
    after = contents()
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        sys.exit(f"not up to date with the notebooks: {', '.join(changed)}. Run `make sync` and commit what it changes.")


def check_style() -> None:
    "Lint and format of notebooks and scripts; strict types of the package."
    call("ruff", "check", "--quiet", NOTEBOOKS, ROOT / ".ci", ROOT / "setup.py")
    call("ruff", "format", "--quiet", "--check", NOTEBOOKS, ROOT / ".ci", ROOT / "setup.py")
    call("mypy", "--strict", "--ignore-missing-imports", ROOT / "mlops_course")


def check_notebooks() -> None:
    "Every evidence page and every solved exercise that is meant for it runs; the chapters come next, with their outputs."
    workers, out = str(os.cpu_count() or 1), str(CHECKS / "notebooks")
    for folder in ("evidence", "exercises"):
        call("nbdev_test", "--path", NOTEBOOKS / folder, "--n_workers", workers, "--timing", MPLBACKEND="Agg", MLOPS_COURSE_OUT=out)


def check_chapters() -> None:
    "Every chapter runs from a clean kernel, and the outputs that are committed are those of the code beside them."
    copies, report = CHECKS / "chapters", CHECKS / "chapters.xml"
    for path in notebooks(*CHAPTERS, "."):
        copy_with_counts(path, copies / path.parent.name / path.name)
    nbval(copies, "--junitxml", report, MLOPS_COURSE_OUT=str(CHECKS / "notebooks"), PYTHONPATH=str(ROOT / ".ci" / "offline"))
    seconds = read_seconds(report)
    print(*(f"{took:6.1f} s  {name}" for name, took in sorted(seconds.items(), key=lambda pair: -pair[1])), sep="\n")
    if slow := [name for name, took in seconds.items() if took > 2 * LONGEST]:  # several run side by side, perhaps on a busy machine
        sys.exit(
            f"took much longer than {LONGEST} s: {', '.join(slow)}. Show the idea on less data, or move what is long into nbs/evidence."
        )


LONGEST = 60  # seconds that a chapter may take by itself, from a clean kernel: who opens it wants to run it


def read_seconds(report: Path) -> dict[str, float]:
    "How long each notebook took, by folder and name, from pytest's report of its cells."
    from xml.etree import ElementTree

    seconds: dict[str, float] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = "/".join(case.attrib["classname"].removesuffix(".ipynb").split(".")[-2:])
        seconds[name] = round(seconds.get(name, 0.0) + float(case.attrib["time"]), 1)
    return seconds


def check_pipeline() -> None:
    "The pipeline on two weeks of data, its executed step notebooks again, and every command of the README."
    out = CHECKS / "out"
    call("mlops-course", "run", "--small", MLOPS_COURSE_OUT=str(out))
    copies = ROOT / "out" / "check-steps"  # as deep below the root as nbs/pipeline, so that relative paths hold
    for path in (out / "runs" / "latest").glob("*/*.ipynb"):
        copy_with_counts(path, copies / path.name)
    nbval(copies, workers=1, MLOPS_COURSE_OUT=str(out))  # one after the other: they write what others read
    call("mlops-course", "promote", "1", MLOPS_COURSE_OUT=str(out))  # two weeks of data do not pass the gate
    for command in readme_commands():
        print("$", command, flush=True)
        call(*tested(command), MLOPS_COURSE_OUT=str(out))


def check_reliability() -> None:
    "The pipeline killed and resumed, and fed with bad input: the evidence notebook, in its short form."
    source = NOTEBOOKS / "evidence" / "reliability.ipynb"
    options = ["--cwd", source.parent, "--no-progress-bar", "-p", "thorough", "False"]
    call("papermill", source, CHECKS / "reliability.ipynb", *options)


def check_site() -> None:
    "The site builds without a warning, and works in a browser without a network."
    call(sys.executable, ROOT / ".ci" / "site.py")
    call(sys.executable, ROOT / ".ci" / "browse.py")


def readme_commands() -> list[str]:
    "The commands that the README shows, without their comments."
    blocks = re.findall(r"^```(?:bash|sh)\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(("make ", "mlops-course "))]


def tested(command: str) -> list[str]:
    """A command as it is tested: make only says what it would do, runs use two weeks of data, files go to the checks' own folder.

    Two weeks leave nothing to replay, so of a replay only the options are read; chapter 23 and its evidence replay in earnest.
    """
    words = [word.replace("out/", f"{CHECKS}/", 1) if word.startswith("out/") else word for word in shlex.split(command)]
    if words[0] == "make":
        return ["make", "--dry-run", *words[1:]]
    if words[1] == "replay":
        return [
            sys.executable,
            "-c",
            "import sys; from mlops_course.cli import make_parser; make_parser().parse_args(sys.argv[1:])",
            *words[1:],
        ]
    if words[1] == "decisions":  # nothing has been served yet
        return [*words, "--store", f"sqlite:///{CHECKS / 'out' / 'store.db'}"]
    return [*words, "--small"] if words[1] in ("run", "sweep") else words


def copy_with_counts(source: Path, target: Path) -> None:
    "Copy a notebook and number its code cells: nbval takes a cell without a number for one that never ran."
    notebook = json.loads(source.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, start=1):
        cell["execution_count"] = number
        for output in cell["outputs"]:
            if output["output_type"] == "execute_result":
                output["execution_count"] = number
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(notebook), encoding="utf-8")


def nbval(folder: Path, *more: str | Path, workers: int = os.cpu_count() or 1, **environment: str) -> None:
    "Run the notebooks of a folder again, and compare every output with the one that is stored."
    options = ["--quiet", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "--nbval-cell-timeout", "600"]
    call("pytest", *options, *more, "-n", str(workers), "--dist", "loadfile", folder, **environment)


ALL: dict[str, Callable[[], None]] = {
    "generated files": check_generated,
    "style and types": check_style,
    "chapters and their outputs": check_chapters,
    "evidence and exercises": check_notebooks,
    "pipeline and README": check_pipeline,
    "reliability": check_reliability,
    "site": check_site,
}


def main() -> None:
    "Run all checks in order, each with its time; or only generate."
    if sys.argv[1:] == ["sync"]:
        return generate()
    for folder in (CHECKS, ROOT / "out" / "check-steps"):
        shutil.rmtree(folder, ignore_errors=True)
    for name, check in ALL.items():
        began = time.monotonic()
        print(f"== {name}", flush=True)
        check()
        print(f"== {name}: {time.monotonic() - began:.0f} s", flush=True)
    print("All checks passed.")


if __name__ == "__main__":
    main()
