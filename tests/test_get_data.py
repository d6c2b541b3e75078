"""`make data`, against a server on this machine that answers as Kaggle does."""

import base64
import errno
import hashlib
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import get_data
import pytest

from fer_helpers import dataset as ds
from fer_helpers.identity import Identity

pytest.importorskip("kagglehub")

START = 2 << 20


class Kaggle(BaseHTTPRequestHandler):
    """Two calls of Kaggle's service, and the store that the second one sends to.

    It is asked as a proxy, so the addresses are whole. ``answer`` chooses what goes wrong.
    """

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path.rpartition("/")[2])
        answer = self.server.answer
        if answer in (403, 404, 500) or (answer == "token" and not self.headers["Authorization"]):
            self.send(403 if answer == "token" else answer, b'{"code": 403, "message": "No"}',
                      {"Content-Type": "application/json"})
        elif self.path.endswith("/GetDataset"):
            self.send(200, json.dumps({"currentVersionNumber": 1}).encode(),
                      {"Content-Type": "application/json"})
        else:
            self.send(302, b"", {"Location": "http://localhost/store/archive.zip"})

    def do_GET(self):
        content, answer = self.server.content, self.server.answer
        self.server.asked.append(self.headers["Range"] or "all")
        start = int((self.headers["Range"] or "bytes=0-")[6:-1])
        if answer == "page":
            content = b"<html>Please enable JavaScript</html>"
        digest = hashlib.md5(b"" if answer == "checksum" else content).digest()
        headers = {"Accept-Ranges": "bytes", "Content-Type": "application/zip",
                   "X-Goog-Hash": f"crc32c=AAAAAA==,md5={base64.b64encode(digest).decode()}"}
        sent = 1000 if answer == "cut" else START if answer == "cut once" and not start else None
        self.send(206 if start else 200, content[start:], headers, sent)

    def send(self, status, body, headers, sent=None):
        self.send_response(status)
        for name, value in (headers | {"Content-Length": len(body)}).items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body[:sent])
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def kaggle(monkeypatch, tmp_path, make_zip):
    """Start the server and lead kagglehub to it; its cache is ``tmp_path / "cache"``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Kaggle)
    # kagglehub writes a megabyte at a time; a zip may begin with anything.
    server.content = START * b"." + make_zip().root.read_bytes()
    server.answer, server.asked = "", []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    for name in list(os.environ):
        if name.startswith("KAGGLE") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "HOME": tmp_path / "home",
                        "KAGGLEHUB_CACHE": tmp_path / "cache",
                        "HTTP_PROXY": f"http://127.0.0.1:{server.server_port}"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("FER_DATA")
    monkeypatch.setattr(ds, "FER2013", [])
    monkeypatch.setattr(ds, "KAGGLE", [])
    yield server
    server.shutdown()
    server.server_close()


def kept(tmp_path):
    """All files and folders in kagglehub's cache below the dataset's own."""
    folder = tmp_path / "cache" / "datasets" / "msambare" / "fer2013"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                  if path.name not in ("versions",)) if folder.exists() else []


@pytest.mark.parametrize("answer", ["", "cut once"])
def test_it_comes_whole_is_judged_and_found_again(kaggle, monkeypatch, tmp_path, capsys, answer):
    """The drawn faces are taken for FER-2013: here, the way is tested and not the judgement."""
    monkeypatch.setattr(ds, "recognise", lambda paths, *_: (paths, Identity(
        "original", "Kaggle's files", "This is the original FER-2013.")))
    kaggle.answer = answer
    assert get_data.main() == 0
    place = tmp_path / "cache" / "datasets" / "msambare" / "fer2013" / "versions" / "1"
    assert f"292 images in {place}. This is the original FER-2013." in capsys.readouterr().out
    assert len(list(place.rglob("*.jpg"))) == 292
    assert not list(place.parent.parent.glob("*.archive"))
    assert ds.find_dataset().root == place
    ranges = [asked for asked in kaggle.asked if asked.startswith("bytes=")]
    assert ranges == ([f"bytes={START}-"] if answer else []), "it goes on where it was cut off"
    asked = len(kaggle.asked)
    assert get_data.main() == 0
    assert len(kaggle.asked) == asked, "what is there is not asked for again"


@pytest.mark.parametrize(("answer", "said"), [
    ("cut", "did not come whole, in 3 tries"), ("checksum", "did not come whole, in 3 tries"),
    (403, "make a token under Settings"), (404, "Kaggle answers 404 (Not Found)"),
    (500, "Kaggle answers 500"), ("page", "is no archive"), ("off", "could not be reached")])
def test_nothing_half_stays(kaggle, tmp_path, capsys, answer, said):
    kaggle.answer = answer
    if answer == "off":
        kaggle.shutdown()
        kaggle.server_close()
    assert get_data.main() == 1
    output = capsys.readouterr().out
    assert said in output
    assert "Or download it in a browser: data/README.md" in output
    assert kept(tmp_path) == []
    assert ds.find_dataset().is_fixture


@pytest.mark.parametrize(("name", "error", "status", "said"), [
    ("shutil.copyfileobj", OSError(errno.ENOSPC, "No space left on device"), 1,
     "It needs 0.3 GB in {cache}: make room, or set KAGGLEHUB_CACHE"),
    ("kagglehub.http_resolver._extract_archive", KeyboardInterrupt(), 130, "Nothing was kept")])
def test_what_stops_the_unpacking(
        kaggle, monkeypatch, tmp_path, capsys, name, error, status, said):
    def stopped(*_):
        raise error
    monkeypatch.setattr(name, stopped)
    assert get_data.main() == status
    assert said.format(cache=tmp_path / "cache") in capsys.readouterr().out
    assert kept(tmp_path) == []


def test_a_disk_that_is_full_before_the_archive_is_whole(kaggle, tmp_path, capsys):
    """The limit on the size of a file stands for the disk."""
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        assert get_data.main() == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "It needs 0.3 GB in" in capsys.readouterr().out
    assert kept(tmp_path) == []


def test_a_token_is_used_if_kaggle_asks_for_one_and_what_comes_is_judged(
        kaggle, monkeypatch, capsys):
    """The drawn faces are not FER-2013, whatever the address says."""
    kaggle.answer = "token"
    assert get_data.main() == 1
    assert "make a token under Settings" in capsys.readouterr().out
    monkeypatch.setenv("KAGGLE_API_TOKEN", "mine")
    assert get_data.main() == 1
    assert "This is another dataset than FER-2013" in (output := capsys.readouterr().out)
    assert "move this one away, or set FER_DATA" in output
