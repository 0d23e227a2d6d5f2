"""Build the site from the notebooks: `make docs`. The pages are plain Quarto; without Quarto, smalldocs renders them.

Nothing is executed: a page shows the outputs that are committed, and `make test` proves that they are those of the code.
With `--quarto`, the real Quarto renders the same pages. With `--links`, nbs/links.csv is brought up to date, and with `--pages` the
notebooks whose outputs are made from other notebooks (glossary, lists, contents, plans) are executed again; nothing is built then.
"""

import ast
import csv
import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "nbs"
PAGES = ROOT / "_proc"  # what nbdev makes of the notebooks, ready to be rendered
SITE = ROOT / "out" / "site"
LINKS = NOTEBOOKS / "links.csv"  # every address outside, and when it was last known to lead somewhere
BIN = Path(sys.executable).parent
Cell = dict[str, Any]


@contextmanager
def stage(says: str) -> Iterator[None]:
    "Say what is going on, and how long it took."
    began = time.monotonic()
    print(f"{says} …", flush=True)
    yield
    print(f"  {time.monotonic() - began:.0f} s", flush=True)


# --- from notebooks to pages


def prepare() -> None:
    "Turn the notebooks into pages: directives and hidden cells gone, titles and descriptions as front matter, links in place."
    from nbdev.doclinks import _build_modidx
    from nbdev.quarto import proc_nbs, refresh_quarto_yml

    shutil.rmtree(PAGES, ignore_errors=True)
    os.environ["PYTHONWARNINGS"] = "error:Failed to create YAML"  # nbdev's workers only warn where they cannot read a page's head
    refresh_quarto_yml()
    _build_modidx()
    proc_nbs()
    for name in ("style.css", "favicon.svg"):
        shutil.copy(NOTEBOOKS / name, PAGES / name)
    show_executed()
    for path in sorted(PAGES.rglob("*.ipynb")):
        notebook = read(path)
        notebook["cells"] = finish(path.relative_to(PAGES), notebook["cells"])
        path.write_text(json.dumps(notebook, ensure_ascii=False), encoding="utf-8")
    configure()


def read(path: Path) -> dict[str, Any]:
    "A notebook's JSON."
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def show_executed() -> None:
    "The pages of the pipeline and of the replayed year are the notebooks as they were executed here last, without the machine's paths."
    runs, report = ROOT / "out" / "runs" / "latest", ROOT / "out" / "replays" / "report.ipynb"
    for page in sorted([*(PAGES / "pipeline").glob("*.ipynb"), PAGES / "replay" / "report.ipynb"]):
        shown = read(page)
        if any(cell.get("outputs") for cell in shown["cells"]):
            continue  # what is committed with its outputs is shown with them
        executed = report if page.name == report.name else runs / page.stem / page.name
        command = "make replay" if executed == report else "make run"
        if executed.is_file():
            done = json.loads(executed.read_text(encoding="utf-8").replace(f"{ROOT}/", ""))
            shown["cells"][1:] = [
                cell for cell in done["cells"] if not (cell["cell_type"] == "markdown" and "".join(cell["source"]).startswith("# "))
            ]
            name = f", run `{runs.resolve().name}`" if executed != report else ""
            says = f"As it was executed on the machine that built this site{name}; `{command}` executes it anew."
        else:
            says = f"Nothing has been executed yet on the machine that built this site: these are the cells alone. `{command}` gives them their outputs."
        shown["cells"].insert(1, {"cell_type": "markdown", "metadata": {}, "source": f"*{says}*"})
        page.write_text(json.dumps(shown), encoding="utf-8")


IMPORTS = '#| code-fold: true\n#| code-summary: "Imports"\n'


def finish(page: Path, cells: list[Cell]) -> list[Cell]:
    "The cells of a page as they are shown."
    number = re.match(r"\d\d(?=_)", page.name)
    kind = page.parent.name if number else ""
    written = page.stem == "index" or len(page.parts) == 1  # by functions: how, is no matter of the page
    shown = []
    for cell in cells:
        source, tags = "".join(cell["source"]), set(cell.get("metadata", {}).get("tags", ()))
        if cell["cell_type"] == "raw":  # Quarto would name the page after its module, smalldocs after its notebook
            source = re.sub(r"^output-file: .*\n", "", source, flags=re.MULTILINE)
            source = re.sub(r"^(title: *['\"]?)Evidence: (.)", lambda found: found[1] + found[2].upper(), source, flags=re.MULTILINE)
            source = numbered(source, int(number[0]), kind) if number else source
            shown += [{**cell, "source": source}, *launch(page), *beside_title(page)]
        elif cell["cell_type"] == "markdown":
            source = quiz(words(source, page)) if number else source
            shown.append({**cell, "source": anchored(source) if kind == "exercises" else source})
        elif "wrong" not in tags and not (written and is_imports(source)) and (code := shown_code(source, tags)):
            outputs = [] if tags & {"solution", "check"} else [boxed(output) for output in cell["outputs"]]
            if code.startswith(IMPORTS) and shown and str(shown[-1]["source"]).startswith(IMPORTS):  # one fold for cells in a row
                shown[-1]["source"] += "\n\n" + code.removeprefix(IMPORTS).strip()
            else:
                shown.append({**cell, "source": code, "outputs": outputs})
    return shown


def beside_title(page: Path) -> list[Cell]:
    "What the cell with the title says besides title and description: nbdev makes front matter of the cell, and drops the rest."
    if not (NOTEBOOKS / page).is_file():
        return []
    titles = (
        cell for cell in read(NOTEBOOKS / page)["cells"] if cell["cell_type"] == "markdown" and "".join(cell["source"]).startswith("# ")
    )
    rest = re.sub(r"\A# .*\n*(?:> .*)?\s*", "", "".join(next(titles, {"source": ""})["source"]))
    return [{"cell_type": "markdown", "metadata": {}, "source": rest}] if rest else []


def numbered(front: str, number: int, kind: str) -> str:
    "Front matter whose title bears the chapter's number, as the text refers to it."
    says = f"Exercises {number}: " if kind == "exercises" else f"{number} "
    return re.sub(
        r"^title: *(['\"]?)(?:Exercises: )?(.*?)\1$",
        lambda found: f"title: {json.dumps(says + found[2], ensure_ascii=False)}",
        front,
        flags=re.M,
    )


def shown_code(source: str, tags: set[str]) -> str:
    "Code without the directives that are the library's and the tests' business; folded where a reader should not see it at once."
    if re.match(r"#\| hide\b", source):  # in a notebook that was executed nobody has taken it out
        return ""
    code = re.sub(r"^(?:#\| (?:default_exp|export|hide)\b|# NBVAL_).*\n?", "", source, flags=re.MULTILINE)
    fold = "Solution" if "solution" in tags else "The check, with its hints" if "check" in tags else "Imports" if is_imports(code) else ""
    return f'#| code-fold: true\n#| code-summary: "{fold}"\n{code}' if fold and code.strip() else code.strip() and code


def is_imports(code: str) -> bool:
    "Whether a cell only imports: worth a fold, not a screen."
    try:
        return all(isinstance(statement, ast.Import | ast.ImportFrom | ast.If) for statement in ast.parse(code).body)
    except SyntaxError:
        return False


def boxed(output: Cell) -> Cell:
    "An output whose tables scroll in a box of their own; one that brings its own colours gets the paper they were made for."
    shown = "".join(output.get("data", {}).get("text/html", ""))
    if "<style>" in shown or 'class="notice' in shown:
        return {**output, "data": {**output["data"], "text/html": f'<div class="paper">{shown}</div>'}}
    if "<table" not in shown:
        return output
    shown = re.sub(r"<style scoped>.*?</style>", "", shown, flags=re.DOTALL)  # pandas' own; the site has one style
    shown = re.sub(r"(<table\b.*?</table>)", r'<div class="wide">\1</div>', shown, flags=re.DOTALL)
    return {**output, "data": {**output["data"], "text/html": shown}}


def words(source: str, page: Path) -> str:
    "The words of a chapter: each can be linked to, and leads to its entry in the glossary."
    from mlops_course.learning import WORD, anchor

    if not re.search(r"^## Words\s*$", source, re.MULTILINE):
        return source
    up = "../" * len(page.parent.parts)

    def linked(found: re.Match[str]) -> str:
        place = anchor(found[1])
        return f'- <span id="{place}"></span>[**{found[1]}**]({up}glossary.ipynb#{place}) – {found[2]}'

    head, heading, section = re.split(r"^(## Words\s*)$", source, maxsplit=1, flags=re.MULTILINE)
    own, *rest = re.split(r"^(?=## )", section, maxsplit=1, flags=re.MULTILINE)
    return f"{head}{heading}{WORD.sub(linked, own)}{''.join(rest)}"


def quiz(source: str) -> str:
    "A quiz whose choices look like choices, and whose verdicts are words, not only signs."
    from mlops_course.learning import CHOICE

    def choice(found: re.Match[str]) -> str:
        verdict = ("right", "✓", "Right.") if found[2] == "✓" else ("wrong", "✗", "Not quite.")
        said = f'<b class="{verdict[0]}"><span aria-hidden="true">{verdict[1]}</span> {verdict[2]}</b> {inline(found[3].strip())}'
        return f'<details class="choice"><summary>{inline(found[1])}</summary><p>{said}</p></details>'

    return CHOICE.sub(choice, source)


def inline(text: str) -> str:
    "Markdown's code, stress and links as HTML: inside HTML nobody renders them."
    text = re.sub(r"`([^`]+)`", lambda found: f"<code>{html.escape(html.unescape(found[1]))}</code>", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    text = re.sub(r"(?<![\w*])\*([^*\s](?:[^*]*[^*\s])?)\*(?![\w*])", r"<em>\1</em>", text)
    return re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", r'<a href="\2">\1</a>', text)


def anchored(source: str) -> str:
    "Exercises that can be linked to by their number."
    return re.sub(r"^## Exercise (\d+)\.(\d+)\b", r'<span id="exercise-\1-\2"></span>\n\n\g<0>', source, flags=re.MULTILINE)


# --- what comes from settings.ini: where the project lives


def settings() -> dict[str, str]:
    "What settings.ini says."
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return dict(config["DEFAULT"])


def repository() -> tuple[str, str, str] | None:
    "Owner, repository and branch, where settings.ini names them."
    own = settings()
    return (own["user"], own["repo"], own["branch"]) if own["user"] and own["repo"] else None


def launch(page: Path) -> list[Cell]:
    "Links that open a page's notebook elsewhere; none while the settings name no repository."
    if (where := repository()) is None or not (NOTEBOOKS / page).is_file():
        return []
    owner, name, branch = where
    path = f"nbs/{page.as_posix()}"
    colab, binder = (
        f"https://colab.research.google.com/github/{owner}/{name}/blob/{branch}/{path}",
        f"https://mybinder.org/v2/gh/{owner}/{name}",
    )
    says = (
        f"[Notebook](https://github.com/{owner}/{name}/blob/{branch}/{path}) · [Open in Colab]({colab}) "
        f"(there, first run `%pip install git+https://github.com/{owner}/{name}`) · [Open in Binder]({binder}/{branch}?urlpath=lab/tree/{path})"
    )
    return [{"cell_type": "markdown", "metadata": {}, "source": f"::: {{.launch}}\n{says}\n:::"}]


def configure() -> None:
    "Add to the pages' configuration what settings.ini names; leave it alone while it names nothing."
    import yaml

    own, where = settings(), repository()
    path = PAGES / "_quarto.yml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    if own["doc_host"]:
        config["website"]["site-url"] = own["doc_host"].rstrip("/") + own["doc_baseurl"]
    if where is not None:
        address = f"https://github.com/{where[0]}/{where[1]}"
        config["website"] |= {"repo-url": address, "repo-actions": ["issue"]}
        config["website"]["navbar"]["right"] = [{"icon": "github", "text": "Repository", "href": address}]
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")


# --- from pages to a site


def run(*words: str | Path, strict: bool = True) -> None:
    "Run a program, and tell now and then that it is still at work. A warning is a failure: somebody would read the page it is about."
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    command = [str(word) for word in words]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        said, waited = "", 0
        while process.poll() is None:
            try:
                said = process.communicate(timeout=10)[0]
            except subprocess.TimeoutExpired:
                waited += 10
                print(f"  {waited} s …", flush=True)
    found = [line for line in said.splitlines() if strict and "warning" in line.lower()]
    if process.returncode or found:
        sys.exit("\n".join([f"{Path(words[0]).name} failed:", *(found or [said])]))


# smalldocs parses a module again for each of its names: remembered, it takes a third of the time. And a parameter whose default
# is the environment is documented by that name, not by everything that the environment of this machine holds.
API = """
import ast, functools, os, sys
from smalldocs.cli import main
ast.parse = functools.cache(ast.parse)
os._Environ.__repr__ = lambda environment: "os.environ"
sys.exit(main(["api", "build", "--dir", sys.argv[1]]))
"""


def document() -> None:
    "Make the reference pages of the library, each with the way to its chapter, and a page that lists them."
    run(sys.executable, "-c", API, PAGES)
    chapters = {}
    for path in sorted(NOTEBOOKS.glob("[0-9]_*/[0-9]*.ipynb")):
        source = "\n".join("".join(cell["source"]) for cell in read(path)["cells"])
        if (module := re.search(r"^#\| default_exp (\w+)", source, re.MULTILINE)) and (
            title := re.search(r"^# (.+)$", source, re.MULTILINE)
        ):
            chapters[module[1]] = f"[{int(path.name[:2])} {title[1]}](../{path.parent.name}/{path.name})"
    rows = []
    for module, chapter in chapters.items():
        path = PAGES / "api" / f"{module}.qmd"
        front, text = path.read_text(encoding="utf-8").removeprefix("---\n").split("\n---\n", 1)
        front = re.sub(r'^title: "mlops_course\.', 'title: "', front, flags=re.MULTILINE)
        path.write_text(f"---\n{front}\n---\n\nThis module is explained, built and tested in chapter {chapter}.\n{text}", encoding="utf-8")
        says = re.search(r'^description: "(.*)"$', front, re.MULTILINE)
        rows.append(f"| [`{module}`]({module}.qmd) | {says[1] if says else ''} | {chapter} |")
    listed = "\n".join(["| module | what it is for | chapter |", "|---|---|---|", *rows])
    says = "Every public name of `mlops_course`, with its parameters. The modules stand in the order of the chapters: each uses only those before it."
    (PAGES / "api" / "index.qmd").write_text(
        f"---\ntitle: The library\ndescription: {json.dumps(says)}\n---\n\n{listed}\n", encoding="utf-8"
    )


def render() -> None:
    "Render the pages, by Quarto where it is asked for, else by smalldocs."
    shutil.rmtree(SITE, ignore_errors=True)
    if "--quarto" in sys.argv[1:]:
        return run("quarto", "render", PAGES)
    config = PAGES / "_quarto.yml"
    config.write_text(re.sub(r"^smalldocs:\n(?:  .*\n)*", "smalldocs:\n  linkify: true\n", config.read_text(encoding="utf-8"), flags=re.M))
    run("smalldocs", "render", "--strict", PAGES)
    for path in SITE.rglob("*.css"):  # the themes ask a server for their fonts; a page must work without a network
        style = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"@import\s*url\([\"']?https?:[^)]*\);?", "", style), encoding="utf-8")
    for path in SITE.rglob("*.html"):
        path.write_text(mend(path.read_text(encoding="utf-8"), path.relative_to(SITE).parent.name), encoding="utf-8")


MENDS = (  # what the renderer's own markup lacks for keyboards and screen readers
    (
        r'<a (class="sidebar-item-(?:toggle|text)[^"]*") (data-bs-toggle="collapse" data-bs-target="(#[^"]+)") role="navigation"',
        r'<a \1 href="\3" \2 role="button"',
    ),
    (
        r'(<a class="quarto-color-scheme-toggle[^"]*" href="") title="Toggle dark mode"',
        r'\1 role="button" title="Light or dark" aria-label="Light or dark"',
    ),
)


def mend(page: str, folder: str) -> str:
    "A page whose markup is better, and which says what it belongs to."
    for pattern, better in MENDS:
        page = re.sub(pattern, better, page)
    return page.replace('<body class="', f'<body class="{folder} ', 1) if folder else page


# --- what is checked


LEFT_OVER = re.compile(r"@(?:fig|tbl|sec)-\w|\[@\w|^:::|\$\$|`|\*\*[A-Za-z]", re.MULTILINE)  # what Quarto reads and others show as it is


def text_of(page: str) -> str:
    "A page's prose, without its code, scripts and styles."
    return re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style|pre|code)\b.*?</\1>", " ", page, flags=re.DOTALL))


def faults() -> Iterator[str]:
    "What is wrong with the rendered pages."
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(SITE.rglob("*.html"))}
    places = {path: set(re.findall(r'\s(?:id|name)="([^"]+)"', page)) for path, page in pages.items()}
    for path, page in pages.items():
        name = path.relative_to(SITE)
        if found := LEFT_OVER.search(text_of(page)):
            yield f"{name}: {found[0]!r} was not rendered"
        bare = re.sub(r"<(script|style|pre)\b.*?</\1>", " ", page, flags=re.DOTALL)
        for link in sorted(set(re.findall(r'(?:href|src)="([^"]+)"', bare))):
            target, _, place = html.unescape(link).partition("#")
            if re.match(r"[a-z]+:|//", target):
                continue
            file = (path.parent / unquote(target.partition("?")[0])).resolve() if target else path
            file = file / "index.html" if file.is_dir() else file
            if not file.is_file():
                yield f"{name}: a link to {link}, which is not there"
            elif place and file in places and unquote(place) not in places[file]:
                yield f"{name}: a link to {link}, but that page has no such place"
        for image in re.findall(r"<img\b[^>]*>", bare):
            if not re.search(r'\salt="[^"]+"', image):
                yield f"{name}: an image without a text that stands for it: {image[:60]} …"
        if found := re.search(rf"environ\(\{{|{re.escape(str(ROOT))}|{re.escape(str(Path.home()))}/", page):
            yield f"{name}: {found[0]!r} is about the machine that built the site"
        if re.search(r'(?:src|href)="https?://[^"]+\.(?:css|js|woff2?)"', page):
            yield f"{name}: it needs a file from another server"
    yield from (f"{name}: no page of the navigation" for name in sorted(unlisted(pages)))


def unlisted(pages: dict[Path, str]) -> set[str]:
    "Pages that the sidebar does not lead to, and chapters that the home page does not name."
    home = pages[SITE / "index.html"]
    sidebar, _, rest = home.partition('id="quarto-sidebar"')[2].partition("<main")
    every = {path.relative_to(SITE).as_posix() for path in pages}
    chapters = {name for name in every if re.match(r"\d_\w+/\d\d_", name)}
    return {name for name in every if f'href="{name}"' not in sidebar} | {name for name in chapters if f'href="{name}"' not in rest}


# --- addresses outside


def outside() -> dict[str, list[str]]:
    "Every address outside that the book names, and the notebooks or lists that name it."
    found: dict[str, list[str]] = {}
    for path in sorted(NOTEBOOKS.rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        prose = "\n\n".join("".join(cell["source"]) for cell in read(path)["cells"] if cell["cell_type"] == "markdown")
        prose = re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", prose, flags=re.DOTALL | re.MULTILINE))
        for address in sorted(set(re.findall(r"https?://[^\s)>\]\"'|]+", prose))):
            found.setdefault(address.rstrip(".,;"), []).append(path.relative_to(ROOT).as_posix())
    with open(NOTEBOOKS / "references.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["link"]:
                found.setdefault(row["link"], []).append("nbs/references.csv")
    return found


def listed() -> list[dict[str, str]]:
    "The list of addresses: address, the day it was last known good (empty where nobody knows), what that rests on."
    with open(LINKS, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def link_faults() -> Iterator[str]:
    "Addresses that are not in the list, or that nobody uses any more."
    used, rows = outside(), listed()
    known = [row["address"] for row in rows]
    for address in sorted(used.keys() - set(known)):
        yield f"{used[address][0]}: {address} is not in nbs/links.csv"
    yield from (f"nbs/links.csv: nothing uses {address}" for address in sorted(set(known) - used.keys()))
    yield from (f"nbs/links.csv: {address} stands there twice" for address in sorted({one for one in known if known.count(one) > 1}))
    for row in rows:
        if not re.fullmatch(r"(\d{4}-\d\d-\d\d)?", row["last_good"]) or bool(row["last_good"]) != bool(row["rests_on"]):
            yield f"nbs/links.csv: {row['address']}: a day such as 2026-11-26 with what it rests on, or neither"


def update_links() -> None:
    "Add the addresses that are new, drop those that nobody uses; a new one has no day until somebody has looked."
    known = {row["address"]: row for row in listed()} if LINKS.is_file() else {}
    with open(LINKS, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["address", "last_good", "rests_on"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(known.get(address, {"address": address}) for address in sorted(outside()))


def execute_pages() -> None:
    "Execute again, in place, every notebook whose outputs are made from other notebooks."
    for path in sorted([*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("*/index.ipynb"), NOTEBOOKS / "5_project" / "25_guide.ipynb"]):
        with stage(f"Executing {path.relative_to(ROOT)}"):
            run("jupyter", "nbconvert", "--log-level", "ERROR", "--to", "notebook", "--execute", "--inplace", path, strict=False)
            run("nbdev_clean", "--fname", path)


def main() -> None:
    "Prepare, render, check."
    if "--links" in sys.argv[1:]:
        return update_links()
    if "--pages" in sys.argv[1:]:
        return execute_pages()
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("Preparing the pages", prepare),
        ("Documenting the library", document),
        ("Rendering", render),
    )
    for says, step in steps:
        with stage(says):
            step()
    with stage("Checking links, pictures and navigation"):
        found = [*link_faults(), *faults()]
    if found and "--quarto" not in sys.argv[1:]:  # these rules know the markup of the renderer that `make test` uses
        sys.exit("\n".join(["the site has faults:", *found]))
    where = SITE.relative_to(ROOT)
    print(f"{len(list(SITE.rglob('*.html')))} pages in {where}: open {where}/index.html, or serve the folder")


if __name__ == "__main__":  # nbdev's workers import this file again
    main()
