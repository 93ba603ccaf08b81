"""The site that ``make docs`` builds: strict, complete, without network, light enough for a phone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag, urlsplit

import pytest
from browser import DESK, PHONE, Browser
from documents import ROOT
from filelock import FileLock

MOST_BYTES = 1_000_000
#: Adds a word in every colour of code to the first block of a page.
EVERY_COLOUR = """document.querySelector(".highlight code")?.insertAdjacentHTML("beforeend",
  "o p s se mi k n nb nf nd c1 nv go".split(" ").map((kind) => `<span class="${kind}">${kind}</span> `).join(""))"""


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [a for name, a in self.tags if name == tag and all(a.get(key) == value for key, value in wanted.items())]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does; a broken link, a page outside the navigation, an unknown name end it.

    It is built once a session, one process at a time: all builds share the tree of the package in ``build``.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of the session; a worker's own is in it
    built, done = folder / "site", folder / "site.done"
    with FileLock(folder / "site.lock"):
        if not done.exists():
            _build(built)
            done.touch()
    return built


def _build(folder: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stdout + made.stderr


@cache
def parsed(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def written(site: Path) -> list[Path]:
    """The pages of the site but that of an unknown address, which its theme makes."""
    return [path for path in sorted(site.rglob("*.html")) if path.name != "404.html"]


def loaded(page: Page) -> list[str]:
    """The addresses of what a browser loads to show a page."""
    found = [a["src"] for tag in ("script", "img", "source") for a in page.all(tag) if a.get("src")]
    found += [
        a["href"] for a in page.all("link") if a.get("rel") in ("stylesheet", "icon", "preload") and a.get("href")
    ]
    return [address for address in found if address and not address.startswith("data:")]


def test_every_page_is_in_the_navigation(site: Path) -> None:
    start = site / "index.html"
    reached = {
        (start.parent / urldefrag(a["href"] or "").url).resolve() for a in parsed(start).all("a") if a.get("href")
    }
    assert [path.relative_to(site).as_posix() for path in written(site) if path.resolve() not in reached] == []


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    found = {path.name: [a for a in loaded(parsed(path)) if urlsplit(a).netloc] for path in written(site)}
    assert {name: addresses for name, addresses in found.items() if addresses} == {}
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"url\([\"']?(?:https?:)?//[^)]*\)", styles) == []


def test_search_works_without_a_server(site: Path) -> None:
    assert "QKANLSTM" in (site / "search" / "search_index.js").read_text(encoding="utf-8")


def test_pages_are_light_and_fit_phones(site: Path) -> None:
    wrong = []
    for path in written(site):
        page = parsed(path)
        files = {(path.parent / urlsplit(address).path).resolve() for address in loaded(page)}
        size = path.stat().st_size + sum(file.stat().st_size for file in files)
        viewport = page.all("meta", name="viewport")
        fits = bool(viewport) and "width=device-width" in (viewport[0].get("content") or "")
        named = all(image.get("alt") for image in page.all("img"))
        if size > MOST_BYTES or not fits or not named or len(page.all("h1")) != 1 or not page.all("html", lang="en"):
            wrong.append((path.relative_to(site).as_posix(), size, fits, named, len(page.all("h1"))))
    assert wrong == []


@pytest.mark.parametrize("name", ["index.html", "how/kernels.html"])
def test_19_pages_are_readable_on_phones_and_desks_light_and_dark(browser: Browser, site: Path, name: str) -> None:
    """No sideways scrolling, no text over another one, contrasts of WCAG AA, every picture and control named."""
    for width, dark in ((PHONE, False), (DESK, True)):
        browser.open(site / name, width=width, dark=dark)
        browser.run("localStorage.clear()")  # where the theme keeps the scheme that it showed last
        browser.open(site / name, width=width, dark=dark)
        assert browser.run("document.body.dataset.mdColorScheme") == ("slate" if dark else "default")
        browser.run(EVERY_COLOUR)
        found = browser.audit()
        kinds = ("scrolling", "overlapping", "broken", "faint", "nameless", "errors")
        assert {kind: found[kind] for kind in kinds if found[kind]} == {}
