"""The site in a real browser without a network: what no look at files can tell. Part of `make test`, after site.py has built it.

Every page loads without an error and without asking anybody else, fits a phone, and passes axe in light and in dark. Search, theme,
quiz, and the way from page to page work. Screenshots lie afterwards in out/check/screenshots: whether a page is ugly, people decide.
With words, only pages with one of them in their name are judged.
"""

import asyncio
import functools
import importlib.util
import os
import shutil
import sys
import threading
import time
from collections.abc import Awaitable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page, Request, Route

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "out" / "site"
SCREENSHOTS = ROOT / "out" / "check" / "screenshots"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
HOME, CHAPTERS = "index.html", ("1_foundations/02_requirements.html", "2_build/08_evaluation.html")
PICTURED = (HOME, *CHAPTERS, "api/requirements.html", "replay/report.html")
# What is wider than the window and stands in no box that scrolls: it makes the page scroll, or is cut off at the edge.
WIDE = """() => {
  const boxed = e => e && e.tagName != 'MAIN' && (['auto', 'scroll'].includes(getComputedStyle(e).overflowX) || boxed(e.parentElement));
  const wide = [...document.querySelectorAll('main *')].filter(e => !e.ownerSVGElement && e.getBoundingClientRect().right > innerWidth + 1);
  const found = wide.filter(e => !boxed(e)).map(e => `${e.tagName} ${e.className} ${e.textContent.slice(0, 40)}`);
  return document.documentElement.scrollWidth > innerWidth ? ['the page', ...found] : found;
}"""
Found = list[str]


class Quiet(SimpleHTTPRequestHandler):
    "A server of files that says nothing."

    def log_message(self, format: str, *args: Any) -> None:
        "Say nothing."


def serve() -> ThreadingHTTPServer:
    "The site, on this machine only, at any port that is free."
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Visitor:
    "A browser's window that notes what goes wrong in it."

    def __init__(self, address: str) -> None:
        self.address, self.found, self.name = address, Found(), ""

    async def open(self, browser: "Browser", **look: Any) -> "Page":
        "A new window without a network."
        context: BrowserContext = await browser.new_context(viewport=DESKTOP, reduced_motion="reduce", **look)
        context.set_default_timeout(15_000)
        await context.route(lambda url: urlsplit(url).hostname != "127.0.0.1", self.refuse)
        self.page = await context.new_page()
        self.page.on("console", lambda message: self.found.append(f"{self.name}: {message.text}") if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.found.append(f"{self.name}: {error}"))
        self.page.on("requestfailed", self.failed)
        return self.page

    async def refuse(self, route: "Route") -> None:
        "A request to somebody else."
        self.found.append(f"{self.name}: it asked for {route.request.url}")
        await route.abort()

    def failed(self, request: "Request") -> None:
        "A file that did not come; one that was on its way when the page was left is no fault."
        if request.failure != "net::ERR_ABORTED":
            self.found.append(f"{self.name}: {request.url} did not load ({request.failure})")

    async def go(self, name: str) -> "Page":
        "Open a page of the site."
        self.name = name
        await self.page.goto(f"{self.address}/{name}")
        return self.page


async def judge(page: "Page", axe: str, thorough: bool) -> Found:
    "What axe finds serious or critical, in light and in dark: rule, and the first element."
    await page.evaluate(axe)
    # The colours of code and of the sides are the same everywhere: they are judged on a few pages. A span for each token is what takes axe long.
    if not thorough:
        await page.evaluate("() => document.querySelectorAll('pre code').forEach(code => { code.textContent = code.textContent; })")
    part = "document" if thorough else "{include: ['main'], exclude: ['pre']}"
    contrast = f"axe.run({part}, {{resultTypes: ['violations'], runOnly: ['color-contrast']}})"
    found = await page.evaluate(f"""async () => {{
      const rest = await axe.run({{resultTypes: ['violations'], rules: {{'color-contrast': {{enabled: false}}}}}});
      const light = await {contrast};
      smalldocsToggleScheme();
      await new Promise(done => setTimeout(done, 150));
      const dark = await {contrast};
      localStorage.clear();
      return [rest, light, dark].flatMap((each, place) => each.violations.filter(one => ['serious', 'critical'].includes(one.impact))
        .map(one => `axe${{place == 2 ? ' in the dark' : ''}}: ${{one.id}} on ${{one.nodes.length}}: ${{one.nodes[0].html.slice(0, 160)}}`));
    }}""")
    return Found(found)


async def visit(visitor: Visitor, names: "asyncio.Queue[str]", axe: str) -> None:
    "Look at pages until none is left: light, dark, on a phone."
    while not names.empty():
        name = names.get_nowait()
        page, found = await visitor.go(name), Found()
        await page.set_viewport_size(PHONE)
        if wide := await page.evaluate(WIDE):
            found.append(f"too wide for a phone: {'; '.join(wide[:3])}")
        await page.set_viewport_size(DESKTOP)
        found += await judge(page, axe, name in PICTURED)
        visitor.found += [f"{name}: {fault}" for fault in found]


async def use(visitor: Visitor) -> None:
    "Do what a reader does: search, read in the dark, answer a quiz, go on and back."
    page = await visitor.go(HOME)
    await page.keyboard.press("/")
    await page.keyboard.type("covariate shift")
    result = page.locator("#quarto-search .search-result").first
    await result.wait_for()
    assert "rift" in await result.inner_text(), "search did not find the chapter on drift first"
    await page.keyboard.press("Enter")
    await page.wait_for_url(lambda url: HOME not in url)

    page = await visitor.go(CHAPTERS[0])
    colour = "() => getComputedStyle(document.body).backgroundColor"
    before = await page.evaluate(colour)
    await page.locator(".quarto-color-scheme-toggle:visible").first.press("Enter")
    await page.wait_for_function(f"before => ({colour})() !== before", arg=before)
    await page.reload()
    assert await page.evaluate(colour) != before, "the theme is forgotten on the next page"

    choice = page.locator("details.choice").first
    verdict = choice.locator("b")
    assert not await verdict.is_visible(), "a quiz shows its verdict before it is asked"
    await choice.locator("summary").focus()
    await page.keyboard.press("Enter")
    assert await verdict.is_visible() and await verdict.inner_text() in ("✓ Right.", "✗ Not quite."), "a quiz does not answer"

    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = page.locator("main .code-copy-button:visible").first
    await button.click()
    code = await button.evaluate("button => button.parentElement.querySelector('pre code').innerText")
    assert await page.evaluate("() => navigator.clipboard.readText()") == code, "the copy button does not copy the code beside it"

    here = page.url
    await page.locator(".page-navigation .nav-page-next a").click()
    await page.wait_for_url(lambda url: url != here)
    await page.locator(".page-navigation .nav-page-previous a").click()
    await page.wait_for_url(here)

    await page.set_viewport_size(PHONE)
    menu = page.locator(".quarto-btn-toggle:visible").first
    await menu.click()
    await page.locator("#quarto-sidebar a[href$='index.html']:visible").first.wait_for()
    await page.set_viewport_size(DESKTOP)


async def picture(browser: "Browser", address: str) -> None:
    "Screenshots of some pages, light and dark, and on a phone."
    looks: dict[str, dict[str, Any]] = {
        "light": {"color_scheme": "light"},
        "dark": {"color_scheme": "dark"},
        "phone": {"color_scheme": "light", "viewport": PHONE, "device_scale_factor": 2},
    }
    shutil.rmtree(SCREENSHOTS, ignore_errors=True)
    SCREENSHOTS.mkdir(parents=True)
    for look, options in looks.items():
        context = await browser.new_context(**{"viewport": DESKTOP, **options})
        page = await context.new_page()
        for name in PICTURED:
            await page.goto(f"{address}/{name}")
            await page.screenshot(path=SCREENSHOTS / f"{name.removesuffix('.html').replace('/', '-')}-{look}.png")
        await context.close()


async def look(executable: str, address: str) -> Found:
    "Everything, by one browser and a few windows at a time."
    from axe_playwright_python.base import AXE_SCRIPT
    from playwright.async_api import Error, async_playwright

    names: asyncio.Queue[str] = asyncio.Queue()
    for path in sorted(
        SITE.rglob("*.html"), key=lambda path: -path.stat().st_size
    ):  # the large ones first: nobody waits for them at the end
        if not sys.argv[1:] or any(word in path.as_posix() for word in sys.argv[1:]):
            names.put_nowait(path.relative_to(SITE).as_posix())
    pages = names.qsize()
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=executable, headless=True, args=FLAGS)
        visitors = [Visitor(address) for _ in range(os.cpu_count() or 1)]
        for visitor in visitors:
            await visitor.open(browser)
        work: list[Awaitable[None]] = [visit(visitor, names, AXE_SCRIPT) for visitor in visitors]
        tasks = [asyncio.ensure_future(one) for one in work]
        while not all(task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=10)
            print(f"  {pages - names.qsize()} of {pages} pages", flush=True)
        for task in tasks:
            task.result()
        reader = Visitor(address)
        await reader.open(browser)
        try:
            await use(reader)
        except (AssertionError, Error) as problem:
            reader.found.append(f"{reader.name}: {problem}")
        await picture(browser, address)
        await browser.close()
    return [fault for visitor in (*visitors, reader) for fault in visitor.found]


def main() -> None:
    "Look at the site, or say why not."
    executable = next((path for path in map(shutil.which, NAMES) if path), None)
    if executable is None or importlib.util.find_spec("playwright") is None:
        return print("No Chromium, or no playwright: the site was not looked at in a browser.")
    if not (SITE / HOME).is_file():
        sys.exit(f"there is no site in {SITE.relative_to(ROOT)}: expected one. Run `make docs` first.")
    began, server = time.monotonic(), serve()
    print("Looking at the site in a browser …", flush=True)
    found = asyncio.run(look(executable, f"http://127.0.0.1:{server.server_port}"))
    server.shutdown()
    if found:
        sys.exit("\n".join([f"the site has {len(found)} faults in a browser:", *sorted(found)]))
    print(f"  no faults, {time.monotonic() - began:.0f} s; screenshots in {SCREENSHOTS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
