"""The blocks of pages that need timm, transformers, neuralforecast, darts or sktime work by copy and paste."""

from pathlib import Path

import pytest
from documents import ECOSYSTEM, ROOT, blocks, pages, run_page

NEEDED = sorted(
    {
        (page.relative_to(ROOT).as_posix(), block.needs)
        for page in pages()
        for block in blocks(page)
        if block.needs in ECOSYSTEM
    }
)
#: Page -> what makes it quicker; its figures need the full work.
QUICKER = {
    "docs/guides/neuralforecast.md": {"steps=150": "steps=2", "steps=200": "steps=2", "n_windows=2": "n_windows=1"},
    "docs/guides/darts.md": {"n_epochs=10": "n_epochs=1", "n_epochs=2": "n_epochs=1"},
    "docs/guides/sktime.md": {"epochs=20": "epochs=1", "epochs=5": "epochs=1"},
}


@pytest.mark.parametrize(("name", "needs"), NEEDED)
def test_the_blocks_run(name: str, needs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = run_page(ROOT / name, QUICKER.get(name, {}), needs).session
    if needs == "transformers":
        want, got = session["gpt2"].state_dict(), session["again"].state_dict()
        assert list(want) == list(got)
        assert all((want[key] == got[key]).all() for key in want)
