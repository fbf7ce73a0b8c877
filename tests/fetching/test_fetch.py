"""Downloads from a server of our own: interruptions, lies, redirects; and the command around them."""

import hashlib
import http.server
import json
import os
import threading

import pytest

from experiments import fetch
from zero1a_jax.commandline.flags import parse
from zero1a_jax.errors import Refused
from zero1a_jax.fetching import download, manifests

CONTENT = bytes(range(256)) * 12_000  # 3 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; the first part of the path says how it misbehaves."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        asked = self.headers.get("Range", "")
        self.server.asked.append((self.path, asked))
        kind = self.path.split("/")[1]
        start = int(asked.removeprefix("bytes=").rstrip("-") or 0)
        if kind.isdigit() or (kind == "busy" and len(self.server.asked) < 3):
            return self.empty(int(kind) if kind.isdigit() else 503)
        if kind in ("moved", "away", "file", "linked"):
            host, port = self.server.server_address
            target = {"away": f"http://localhost:{port}/good", "file": "file:///etc/hostname"}.get(
                kind, "/good"
            )
            stated = {"X-Linked-Etag": f'"{SHA256}"', "X-Repo-Commit": "c0ffee"} if kind == "linked" else {}
            return self.empty(302, Location=target, **stated)
        if kind == "norange":
            start = 0
        if start >= len(CONTENT):
            return self.empty(416, **{"Content-Range": f"bytes */{len(CONTENT)}"})
        self.send_response(206 if start else 200)
        if start:
            shift = 7 if kind == "shifted" and len(self.server.asked) == 1 else 0
            span = f"bytes {start + shift}-{len(CONTENT) - 1}/{len(CONTENT)}"
            self.send_header("Content-Range", span)
        chunked = kind == "endless"
        self.send_header(
            *(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(CONTENT) - start)))
        )
        self.end_headers()
        if chunked:
            block = b"x" * (1 << 20)
            for _ in range(8):
                self.wfile.write(b"%x\r\n" % len(block) + block + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
            return None
        end = start + 1_100_000 if kind == "cut" else len(CONTENT)
        self.wfile.write(CONTENT[start:end])
        if kind == "cut":
            self.close_connection = True
        return None

    def empty(self, code, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.handle_error = lambda *arguments: None  # clients that hang up are part of the tests
    made.asked = []
    made.url = f"http://127.0.0.1:{made.server_address[1]}"
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def get(server, kind, path, **options):
    return download.download(
        f"{server.url}/{kind}", path, **{"wait": 0.01, "say": lambda text: None} | options
    )


def test_a_file_arrives_whole_and_leaves_nothing_else(server, tmp_path):
    receipt = get(server, "good", tmp_path / "a/b/file", sha256=SHA256, size=len(CONTENT))
    assert receipt == download.Receipt(SHA256, len(CONTENT), SHA256, "")
    assert (tmp_path / "a/b/file").read_bytes() == CONTENT
    assert os.listdir(tmp_path / "a/b") == ["file"]


def test_an_interrupted_file_goes_on_where_it_stopped(server, tmp_path):
    get(server, "cut", tmp_path / "file", sha256=SHA256, tries=2)  # progress makes the count start again
    assert (tmp_path / "file").read_bytes() == CONTENT
    starts = [int(asked.strip("bytes=-") or 0) for _, asked in server.asked]
    assert starts == [0, 1_100_000, 2_200_000]


def test_a_later_call_goes_on_too(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:2_000_000])
    get(server, "good", tmp_path / "file", sha256=SHA256)
    assert server.asked == [("/good", "bytes=2000000-")] and (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["norange", "shifted", "good"])
@pytest.mark.parametrize("there", [1000, len(CONTENT), len(CONTENT) + 5])
def test_a_part_that_cannot_be_continued_starts_again(kind, there, server, tmp_path):
    (tmp_path / "file.part").write_bytes((CONTENT + b"behind")[:there])
    get(server, kind, tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_halves_are_not_joined_where_nothing_proves_it(server, tmp_path):
    (tmp_path / "file.part").write_bytes(b"of another file")
    receipt = get(server, "good", tmp_path / "file")
    assert receipt.sha256 == SHA256 and receipt.compared == "" and len(server.asked) == 2


def test_what_the_server_states_before_it_redirects_is_the_checksum(server, tmp_path):
    (tmp_path / "file.part").write_bytes(b"of another file")
    with pytest.raises(download.Failed, match="is not the file that was expected.*removed"):
        get(server, "linked", tmp_path / "file")
    assert os.listdir(tmp_path) == []
    receipt = get(server, "linked", tmp_path / "file")
    assert receipt.compared == SHA256 and receipt.revision == "c0ffee"


@pytest.mark.parametrize(
    "kind, options, words",
    [
        ("good", {"sha256": OTHER}, "its SHA-256 is .*, not .*; it was removed"),
        ("good", {"size": 5}, f"has {len(CONTENT)} bytes, not 5"),
        ("endless", {"size": 3 << 20}, "sends more than"),
        ("away", {}, "neither https nor the same host"),
        ("file", {}, "is not allowed"),
        ("404", {}, "does not have it"),
        ("403", {}, "does not give it out"),
        ("503", {"tries": 2}, "the server answers 503.*goes on"),
    ],
)
def test_refusals_are_one_sentence_and_leave_no_file(kind, options, words, server, tmp_path):
    with pytest.raises(download.Failed, match=words) as caught:
        get(server, kind, tmp_path / "file", **options)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_busy_server_is_asked_again(server, tmp_path):
    assert get(server, "busy", tmp_path / "file").sha256 == SHA256 and len(server.asked) == 3
    get(server, "moved", tmp_path / "other", sha256=SHA256)


def test_no_host_no_encryption_no_room(server, tmp_path, monkeypatch):
    for url in ("ftp://127.0.0.1/a", "http://example.com/a", "file:///etc/hostname", "https://"):
        with pytest.raises(download.Failed, match="is no https address"):
            download.download(url, tmp_path / "file")
    with pytest.raises(download.Failed, match="cannot be reached.*--offline"):
        download.download("http://127.0.0.1:1/a", tmp_path / "file")
    monkeypatch.setattr(download, "SPARE", 1 << 60)
    with pytest.raises(download.Failed, match="MiB free, .* are needed"):
        get(server, "good", tmp_path / "file")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
def test_a_full_disk_is_named(server, tmp_path):
    (tmp_path / "file.part").symlink_to("/dev/full")
    with pytest.raises(download.Failed, match="is full: make room"):
        get(server, "good", tmp_path / "file", sha256=SHA256)


def test_two_processes_do_not_write_one_file(server, tmp_path):
    with download._part(tmp_path / "file"), pytest.raises(download.Failed, match="by another process"):
        get(server, "good", tmp_path / "file")


MANIFEST = """
name = "Thing"
group = "things"
version = "1"
folder = "{folder}"
licence = "for research"
commercial_use = "{use}"
citation = "us"
schema = "bytes"
[[files]]
name = "{name}"
{where}
sha256 = "{sha256}"
bytes = {bytes}
"""


def write(place, label, **changes):
    values = dict(folder="sub", use="yes", name=f"{label}.bin", sha256=SHA256, bytes=len(CONTENT), where="")
    place.mkdir(exist_ok=True)
    (place / f"{label}.toml").write_text(MANIFEST.format(**values | changes))


def run(folder, *flags):
    fetch.main(parse(fetch.Options, [f"--manifests={folder / 'm'}", f"--assets={folder / 'a'}", *flags]))


def test_the_command(server, tmp_path, capsys):
    good = f'url = "{server.url}/good"'
    write(tmp_path / "m", "free", where=good)
    write(tmp_path / "m", "bound", where=good, use="no", sha256="unknown", bytes='"unknown"')
    write(tmp_path / "m", "byhand", where='manual = "ask the author"', use="no")
    with pytest.raises(Refused, match="for research .commercial use: no.*--accept=bound"):
        run(tmp_path, "--what=free,bound")
    assert server.asked == []
    run(tmp_path, "--what=free,bound", "--accept=bound")
    kept = json.loads((tmp_path / "a/fetched.json").read_text())
    assert set(kept) == {"sub/free.bin", "sub/bound.bin"} and kept["sub/bound.bin"]["sha256"] == SHA256
    assert "nobody states" in capsys.readouterr().out
    count = len(server.asked)
    run(tmp_path, "--what=free,bound", "--accept=bound")  # nothing is fetched twice
    with pytest.raises(Refused, match="byhand.bin is not there"):
        run(tmp_path, "--what=byhand")
    assert "ask the author" in capsys.readouterr().out
    server.shutdown()
    run(tmp_path, "--offline")
    (tmp_path / "a/sub/bound.bin").write_bytes(b"damaged")
    with pytest.raises(Refused, match="bound.bin has the SHA-256 .* instead of"):
        run(tmp_path, "--offline")
    (tmp_path / "a/sub/free.bin").write_bytes(b"cut")
    with pytest.raises(Refused, match="free.bin has 3 bytes instead of"):
        run(tmp_path, "--what=free")
    assert len(server.asked) == count and (tmp_path / "a/sub/free.bin").read_bytes() == b"cut"
    run(tmp_path, "--list")
    assert "commercial use: no" in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"name": "../up"}, "no path below"),
        ({"folder": "/etc"}, "no path below"),
        ({"folder": "a/../../b"}, "no path below"),
        ({"name": ".hidden"}, "no path below"),
        ({"name": "a\\\\b"}, "no path below"),
        ({"where": 'url = "http://example.com/x"'}, "no https address"),
        ({"where": ""}, "neither a url nor words"),
        ({"sha256": "12"}, "64 hexadecimal"),
        ({"bytes": -1}, "no positive number"),
        ({"use": "perhaps"}, "neither yes nor no"),
    ],
)
def test_manifests_that_could_do_harm(changes, words, tmp_path):
    write(tmp_path / "m", "bad", **{"where": 'url = "https://example.com/x"'} | changes)
    with pytest.raises(ValueError, match=words):
        manifests.load(tmp_path / "m")


def test_shipped_manifests_fill_the_layout_that_the_converters_read(tmp_path):
    known = manifests.load()
    paths = {file.path for manifest in known for file in manifest.files}
    names = ("denoising_unet.pth", "reference_unet.pth", "motion_module.pth", "pose_guider.pth")
    names += ("sd-vae-ft-mse/config.json", "sd-vae-ft-mse/diffusion_pytorch_model.safetensors")
    names += ("image_encoder/config.json", "image_encoder/pytorch_model.bin")
    assert {f"aniportrait/{name}" for name in names} | {"face_landmarker.task"} <= paths
    assert {m.label for m in known if m.by_hand} == {"flame2020", "flame2023", "flame2023_open"}
    assert all(file.url.startswith("https://") for m in known if not m.by_hand for file in m.files)
    with pytest.raises(Refused, match="--assets"):
        fetch.main(parse(fetch.Options, ["--what=lpips", f"--assets={__file__}"]))
    with pytest.raises(ValueError, match="nothing called nets"):
        manifests.select(known, ["nets"])
