"""Links between pages as they are read where the repository is hosted: files and headings exist."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from documents import ROOT, pages

DOCUMENTS = [*pages(), *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md"))]
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@cache
def anchors(page: Path) -> frozenset[str]:
    """What headings are called in links: lower case, hyphens for spaces, no other signs; repeated ones are numbered."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return frozenset(found)


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target) if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pictures_say_what_they_show(page: Path) -> None:
    assert [alt for alt in re.findall(r"!\[(.*?)\]", page.read_text(encoding="utf-8")) if len(alt) < 10] == []


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_lists_and_quotations_are_meant(page: Path) -> None:
    """The site shows a list right behind a line as text, and a line that begins with > as a quotation."""
    lines = _FENCED.sub("", page.read_text(encoding="utf-8")).splitlines()
    item = r" {0,3}([-*+]|\d+[.)]) |>"
    assert [
        line
        for before, line in itertools.pairwise(lines)
        if re.match(item, line) and before.strip() and not re.match(rf"{item}| {{2}}|#|<!--", before)
    ] == []


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_in_angle_brackets_is_taken_for_a_tag(page: Path) -> None:
    """`<Z>` outside of code is not shown; indices and exponents are tags that are meant."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    text = re.sub(r"<!--.*?-->|^ {4}.*$|`[^`]*`", "", text, flags=re.MULTILINE)
    assert re.findall(r"<(?!/?su[bp]>)[A-Za-z/][^>\n]*>", text) == []
