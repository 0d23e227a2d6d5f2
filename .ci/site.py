"""Build the site from the notebooks: `make docs`. The pages are plain Quarto; without Quarto, smalldocs renders them.

Nothing is executed: a page shows the outputs that are committed, and `make test` proves that they are those of the code.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "_proc"  # what nbdev makes of the notebooks, ready to be rendered
SITE = ROOT / "out" / "site"
BIN = Path(sys.executable).parent


def prepare() -> None:
    "Turn the notebooks into pages: directives and hidden cells gone, titles and descriptions as front matter."
    from nbdev.doclinks import _build_modidx
    from nbdev.quarto import proc_nbs, refresh_quarto_yml

    shutil.rmtree(PAGES, ignore_errors=True)
    refresh_quarto_yml()
    _build_modidx()
    proc_nbs()
    for name in ("style.css", "favicon.svg"):
        shutil.copy(ROOT / "nbs" / name, PAGES / name)
    show_latest_run()
    for path in PAGES.rglob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        notebook["cells"] = [finished for cell in notebook["cells"] if (finished := finish(cell)) is not None]
        path.write_text(json.dumps(notebook, ensure_ascii=False), encoding="utf-8")


def show_latest_run() -> None:
    "Where the pipeline has run, its pages are the notebooks as they were executed, without the machine's paths."
    for path in (ROOT / "out" / "runs" / "latest").glob("*/*.ipynb"):
        page = PAGES / "pipeline" / path.name
        executed, front = json.loads(path.read_text(encoding="utf-8").replace(f"{ROOT}/", "")), json.loads(page.read_text(encoding="utf-8"))
        executed["cells"] = [front["cells"][0], *executed["cells"][1:]]
        page.write_text(json.dumps(executed), encoding="utf-8")


def finish(cell: dict[str, Any]) -> dict[str, Any] | None:
    "A cell as the page shows it; None where it shows nothing."
    source = "".join(cell["source"])
    if cell["cell_type"] == "raw":  # Quarto would name the page after its module, smalldocs after its notebook
        return {**cell, "source": re.sub(r"^output-file: .*\n", "", source, flags=re.MULTILINE)}
    if cell["cell_type"] == "code":
        code = re.sub(r"^#\| (default_exp|export|hide)\b.*\n?", "", source, flags=re.MULTILINE)
        if not code.strip():
            return None
        if is_imports(code):
            code = f'#| code-fold: true\n#| code-summary: "Imports"\n{code}'
        return {**cell, "source": code}
    return cell


def is_imports(code: str) -> bool:
    "Whether a cell only imports: worth a fold, not a screen."
    import ast

    try:
        return all(isinstance(statement, ast.Import | ast.ImportFrom | ast.If) for statement in ast.parse(code).body)
    except SyntaxError:
        return False


def run(*words: str | Path) -> None:
    "Run a program; a warning is a failure, since somebody would read the page that it is about."
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([str(word) for word in words], cwd=ROOT, env=environment, capture_output=True, text=True)
    warnings = [line for line in (done.stdout + done.stderr).splitlines() if "warning" in line.lower()]
    if done.returncode or warnings:
        sys.exit("\n".join([f"{words[0]} failed:", *(warnings or [done.stdout, done.stderr])]))


def render() -> None:
    "Render the pages, by Quarto where it is asked for, else by smalldocs."
    shutil.rmtree(SITE, ignore_errors=True)
    run("smalldocs", "api", "build", "--dir", PAGES)
    if "--quarto" in sys.argv[1:]:
        return run("quarto", "render", PAGES)
    run("smalldocs", "render", "--strict", PAGES)
    for path in SITE.rglob("*.css"):  # the themes ask a server for their fonts; a page must work without a network
        style = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"@import\s*url\([\"']?https?:[^)]*\);?", "", style), encoding="utf-8")


LEFT_OVER = re.compile(r"@(?:fig|tbl|sec)-\w|\[@\w|^:::|\$\$", re.MULTILINE)  # what Quarto reads and others show as it is


def text_of(page: Path) -> str:
    "A page's prose, without its code, scripts and styles."
    html = page.read_text(encoding="utf-8")
    return re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style|pre|code)\b.*?</\1>", " ", html, flags=re.DOTALL))


def faults() -> Iterator[str]:
    "What is wrong with the rendered pages."
    for page in sorted(SITE.rglob("*.html")):
        name, html = page.relative_to(SITE), page.read_text(encoding="utf-8")
        if found := LEFT_OVER.search(text_of(page)):
            yield f"{name}: {found[0]!r} was not rendered"
        for target in re.findall(r'(?:href|src)="([^"#?]+)', html):
            if not re.match(r"[a-z]+:|//|data:", target) and not (page.parent / target.replace("%20", " ")).exists():
                yield f"{name}: a link to {target}, which is not there"
        if re.search(r'(?:src|href)="https?://[^"]+\.(?:css|js|woff2?)"', html):
            yield f"{name}: it needs a file from another server"


def main() -> None:
    "Prepare, render, check."
    prepare()
    render()
    if found := list(faults()):
        sys.exit("\n".join(["the site has faults:", *found]))
    print(
        f"{len(list(SITE.rglob('*.html')))} pages in {SITE.relative_to(ROOT)}: open {SITE.relative_to(ROOT)}/index.html, or serve the folder"
    )


if __name__ == "__main__":  # nbdev's workers import this file again
    main()
