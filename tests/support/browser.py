"""A headless Chromium that looks at pages: at widths, in light and dark, on paper, with and without scripts.

It is driven by the DevTools protocol through a pair of pipes, so nothing beside the browser is needed and no port is
opened. ``apt-get install chromium`` brings one; ``CHROMIUM=/path`` names another.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE, DESK = 390, 1280
_AUDIT = (Path(__file__).parent / "page_audit.js").read_text(encoding="utf-8")
_PATIENCE = 60  # seconds for one answer


def find_browser() -> str | None:
    """Where Chromium is, or ``None``."""
    return os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)


def browser_or_skip() -> str:
    """Where Chromium is; without one, tests are skipped, but not in CI: there it must be installed."""
    found = find_browser()
    if found is None and os.environ.get("CI"):
        pytest.fail("there is no Chromium in CI; install it with apt-get install chromium", pytrace=False)
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium, or name one in CHROMIUM")
    return found


class Browser:
    """One browser with one tab."""

    def __init__(self, path: str, folder: Path) -> None:
        to_browser, from_us = os.pipe()
        from_browser, to_us = os.pipe()
        options = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe",
            "--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-dev-shm-usage",
            "--force-color-profile=srgb", f"--user-data-dir={folder}", "about:blank",
        ]  # fmt: skip
        shell = f'exec "$0" "$@" 3<&{to_browser} 4>&{to_us}'  # Chromium reads orders from 3 and answers to 4
        self.log = (folder / "browser.log").open("w+b")
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", shell, path, *options],
            pass_fds=(to_browser, to_us), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )  # fmt: skip
        os.close(to_browser)
        os.close(to_us)
        self.write, self.read = from_us, from_browser
        self.rest, self.count, self.session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send an order and return the answer; events on the way are kept in ``events``."""
        self.count += 1
        order: dict[str, Any] = {"id": self.count, "method": method, "params": parameters}
        if self.session is not None:
            order["sessionId"] = self.session
        os.write(self.write, json.dumps(order).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.read], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self.read, 1 << 20) if ready else b""
            if not piece:
                self.log.seek(0)
                raise RuntimeError(f"Chromium does not answer: {self.log.read()[-2000:].decode(errors='replace')}")
            self.rest += piece
        text, _, self.rest = self.rest.partition(b"\0")
        return json.loads(text)

    def open(
        self,
        page: Path | str,
        *,
        width: int = DESK,
        height: int = 900,
        dark: bool = False,
        paper: bool = False,
        scripts: bool = True,
    ) -> None:
        """Load a page, a file or an address, and wait until it is there.

        Args:
            page: The file, or an address.
            width: Of the window in pixels.
            height: Of the window in pixels.
            dark: Whether the reader prefers dark pages.
            paper: Whether it looks as it is printed.
            scripts: Whether scripts run.
        """
        phone = width < 600
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media="print" if paper else "", features=[scheme])
        self.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.events.clear()
        self.ask("Page.navigate", url=page.resolve().as_uri() if isinstance(page, Path) else page)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())
        self.ask("Page.bringToFront")

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression, or what its promise gives; works where scripts are off."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]["exception"].get("description")
        return found["result"].get("value")

    def audit(self) -> dict[str, Any]:
        """Return what is wrong with the page as it is shown now: see ``page_audit.js``.

        ``errors`` and ``requests`` are what it complained of and what it loaded since it was opened, itself left out.
        """
        found = self.run(_AUDIT)
        kinds = {"Log.entryAdded": "entry", "Runtime.exceptionThrown": "exceptionDetails"}
        found["errors"] = [
            event["params"][kinds[event["method"]]] for event in self.events if event.get("method") in kinds
        ]
        sent = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        found["requests"] = [event["params"]["request"]["url"] for event in sent][1:]
        return found

    def press(self, key: str) -> None:
        """Press and release a key, such as ``Tab`` or ``ArrowRight``."""
        codes = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowRight": 39}
        more: dict[str, Any] = {"windowsVirtualKeyCode": codes[key]} if key in codes else {"text": key}
        if key == "Enter":
            more["text"] = "\r"
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, **more)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, **more)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Move the mouse, press or release its button: ``mouseMoved``, ``mousePressed``, ``mouseReleased``."""
        held: Mapping[str, Any] = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Save what is shown, or the whole page, as PNG."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """End the browser."""
        os.close(self.write)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.read)
        self.log.close()


@contextmanager
def running_browser(path: str) -> Iterator[Browser]:
    """Give a browser that ends with the block."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        started = Browser(path, Path(folder))
        try:
            yield started
        finally:
            started.close()


def check_page(browser: Browser, page: Path | str, *, weight: int = 1_000_000) -> None:
    """Hold a page against what every page must be, at 390 and 1,280 px, in light and dark.

    No sideways scrolling, no text over another text, contrasts of WCAG AA, alternative texts, a viewport, a language,
    reachable controls, no error, nothing loaded from elsewhere, less than ``weight`` bytes.
    """
    if isinstance(page, Path):
        assert page.stat().st_size < weight, f"{page.name} has {page.stat().st_size:,} bytes"
    for width, dark in ((PHONE, False), (PHONE, True), (DESK, False), (DESK, True)):
        browser.open(page, width=width, dark=dark)
        wrong = {name: found for name, found in browser.audit().items() if found}
        assert not wrong, f"at {width} px, {'dark' if dark else 'light'}: {json.dumps(wrong, indent=1)[:3000]}"
