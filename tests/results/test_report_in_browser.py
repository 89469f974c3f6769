"""report.html in a browser."""

import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import matplotlib.image
import numpy as np
import pytest

from helpers.report_pages import made, three_figures, write

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


# In a browser


@pytest.fixture
def browser(tmp_path):
    """Load a page from a server of this test in Chromium, which has no other network.

    All names in .test lead to the server; Chromium's own requests for the time and for
    updates lead nowhere.
    """
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    asked, content = [], {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers["Host"].split(":")[0] + self.path)
            known = self.path == "/report.html"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(content["page"] if known else b"")

        def log_message(self, *args):
            pass

    def load(page, *options):
        asked.clear()
        content["page"] = page
        shot = tmp_path / "shot.png"
        shot.unlink(missing_ok=True)
        port = server.server_address[1]
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--no-proxy-server",
            f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}",
            f"--host-resolver-rules=MAP *.test 127.0.0.1:{port}, MAP * ~NOTFOUND",
            *options,
            f"http://report.test:{port}/report.html",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=240)
        return matplotlib.image.imread(shot)[..., :3], list(asked)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield load
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_in_chromium(browser, tmp_path):
    path = tmp_path / "report.html"
    write(path, made(left_out=["7"]), three_figures())
    page = path.read_bytes()
    light, asked = browser(page, "--window-size=1280,2000")
    assert asked == ["report.test/report.html"]
    assert light.shape[:2] == (2000, 1280)
    assert len(np.unique(light.reshape(-1, 3), axis=0)) > 100
    # the edge of the page, below the header
    assert np.ptp(light[600, :20], axis=0).max() == 0
    assert light[600, 10].mean() > 0.9
    dark, _ = browser(
        page, "--window-size=1280,2000", "--blink-settings=preferredColorScheme=0"
    )
    assert dark[600, 10].mean() < 0.15


@pytest.mark.slow
def test_requests_are_seen(browser, tmp_path):
    """The test above can fail, and the policy of the page holds them back."""
    path = tmp_path / "report.html"
    write(path, made())
    image = b'<img src="http://elsewhere.test/x.png"></body>'
    page = path.read_bytes().replace(b"</body>", image)
    assert browser(page)[1] == ["report.test/report.html"]
    policy = re.compile(rb"<meta http-equiv=[^>]*>")
    assert "elsewhere.test/x.png" in browser(policy.sub(b"", page))[1]
