"""What a reader's browser shows: pages on a desk and on a phone, light and dark, and JupyterLab.

Chromium is driven through its DevTools protocol: a browser and one small package are enough.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import course as tool
import pytest
import websocket

from fer_helpers.course import COURSE

NAMED = os.environ.get("CHROMIUM")  # in the workflow: there the tests must not be skipped
CHROMIUM = next(filter(None, map(shutil.which, [NAMED] if NAMED else [
    "chromium", "chromium-browser", "google-chrome", "chrome"])), None)
pytestmark = pytest.mark.skipif(not (CHROMIUM or NAMED), reason="no Chromium is on the PATH")
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
           "--disable-background-networking", "--disable-component-update", "--disable-quic",
           "--disable-extensions", "--remote-debugging-port=0", "--remote-allow-origins=*"]
AXE = Path(pytest.importorskip("axe_core_python").__file__).with_name("axe.min.js")
SOURCES = ["README.md", *sorted(path.relative_to(COURSE).as_posix() for pattern in (
    "notebooks/*.ipynb", "docs/*.md", "data/README.md", "figures/README.md")
    for path in COURSE.glob(pattern))]


class Browser:
    """A page of a headless Chromium."""

    def __init__(self, folder):
        self.process = subprocess.Popen([CHROMIUM, *OPTIONS, f"--user-data-dir={folder}"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = folder / "DevToolsActivePort"
        wait_for(lambda: port.is_file() and port.read_text().count("\n"))
        number, path = port.read_text().split()
        self.socket = websocket.create_connection(f"ws://127.0.0.1:{number}{path}", timeout=300)
        self.count, self.events, self.session = 0, [], {}
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        """Give a command; return its result. What happens meanwhile is kept in ``events``."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}
                                    | self.session))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == self.count:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def look(self, address=None, *, width=1366, dark=False):
        """Set the window's width and colours; open a page, and wait until it is there."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=900,
                  deviceScaleFactor=1, mobile=width < 600)
        self.send("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"}])
        if address:
            self.events.clear()
            self.send("Page.navigate", url=address)
            wait_for(lambda: self.run("document.readyState") == "complete"
                     and self.run("location.href") != "about:blank")

    def run(self, script):
        """Return the value of a JavaScript expression, or what it promises."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True,
                           returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def requests(self):
        """Return the addresses that the page has asked for."""
        return [event["params"]["request"]["url"] for event in self.events
                if event["method"] == "Network.requestWillBeSent"]

    def axe(self):
        """Return what axe finds wrong that is serious or critical: rule, how often, and where."""
        self.run(AXE.read_text("utf-8"))
        found = self.run("axe.run({resultTypes: ['violations']}).then(all => all.violations)")
        return [(one["id"], len(one["nodes"]), [node["html"][:200] for node in one["nodes"][:3]])
                for one in found if one["impact"] in ("serious", "critical")]


def wait_for(ready, seconds=300):
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.socket.close()
    browser.process.terminate()
    browser.process.wait(20)


WIDER = """[...document.querySelectorAll("body *")].filter(one => {
    const box = one.getBoundingClientRect(), scrolls = box.width && one.closest(
        "div.table-wrapper, div.text_html, div.math, pre, .sidebar-drawer, .toc-drawer, .sr-only");
    return !scrolls && box.right > document.documentElement.clientWidth + 1;
}).map(one => one.outerHTML.slice(0, 150))"""


OUT_OF_REACH = """[...document.querySelectorAll("main *, article *")].filter(one =>
    one.scrollWidth > one.clientWidth + 1 && one.tabIndex < 0
    && ["auto", "scroll"].includes(getComputedStyle(one).overflowX)
).map(one => one.outerHTML.slice(0, 150))"""


def faults(browser, address, width, dark):
    """Look at a page; return what is wrong with it, by kind."""
    browser.look(address, width=width, dark=dark)
    found = {
        "too wide": browser.run(WIDER), "axe": browser.axe(),
        "not with keys": browser.run(OUT_OF_REACH),  # axe of 2022 does not look for it
        "scrolls": [to for to in [browser.run("document.documentElement.scrollWidth")]
                    if to > width],
        "from outside": [url for url in browser.requests()
                         if not url.startswith(("file:", "data:"))]}
    return {kind: wrong for kind, wrong in found.items() if wrong}


@pytest.mark.parametrize("source", SOURCES)
def test_a_page(source, site, browser):
    """On a desk by day and on a phone by night. The texts of pictures are in test_site.py."""
    address = (site / source).with_suffix(".html").as_uri()
    assert faults(browser, address, 1366, dark=False) == {}
    assert faults(browser, address, 390, dark=True) == {}


def test_what_is_wrong_is_found(browser, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("""<!doctype html><html lang="en"><title>Bad</title>
        <meta name="viewport" content="width=device-width"><main><h1>Bad</h1>
        <div style="width: 500px; color: #999; background: #aaa">pale and wide</div>
        <pre style="overflow: auto">too long for a telephone that is held upright, and so on</pre>
        <img src="http://127.0.0.1:9/x.png" alt="Image"></main>""")
    found = faults(browser, page.as_uri(), 390, dark=False)
    assert found.keys() == {"too wide", "scrolls", "not with keys", "axe", "from outside"}
    assert [rule for rule, *_ in found["axe"]] == ["color-contrast"]


def test_pictures_in_jupyterlab_have_their_text(browser, sentences, monkeypatch, tmp_path):
    """Start what `make lab` starts, and open a notebook in it."""
    commands = []
    monkeypatch.setattr(tool, "run", lambda *command, **_: commands.append(command))
    tool.lab()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, *commands[-1], "--no-browser", "--IdentityProvider.token=t",
         f"--ServerApp.port={port}", "--ServerApp.port_retries=0"], cwd=COURSE,
        env=os.environ | dict.fromkeys(  # nothing of the user's, and nothing left behind
            ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR",
             "JUPYTERLAB_WORKSPACES_DIR"], str(tmp_path)),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        name = "02_augmentation_preview"
        browser.look(f"http://127.0.0.1:{port}/lab/tree/notebooks/{name}.ipynb?token=t")
        shown = "[...document.querySelectorAll('.jp-OutputArea img')].map(image => image.alt)"
        first = wait_for(lambda: browser.run(shown))  # others follow when one scrolls
        assert first == sentences(name)[:len(first)]
        assert browser.run("getComputedStyle(document.querySelector('.jp-OutputArea-output pre'))"
                           ".wordBreak") == "normal", "printed lines break between words"
    finally:
        server.kill()
        server.wait()
