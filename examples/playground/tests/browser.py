"""A headless Chromium, driven through the interface of chromedriver. Needs nothing but Python, chromium and chromedriver."""

import base64
import json
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request
import zlib


class Browser:
    """A browser with an empty profile that talks to this machine only. For `with`."""

    def __init__(self, *flags):
        self.flags = flags

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.profile = tempfile.mkdtemp(prefix="chromium-")
        self.driver = subprocess.Popen(
            ["chromedriver", f"--port={self.port}", "--log-level=SEVERE"], stdout=subprocess.DEVNULL
        )
        try:
            self.wait(lambda: self.ready(), "chromedriver", seconds=30)
            arguments = [
                "--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--window-size=1100,900",
                f"--user-data-dir={self.profile}", *self.flags,
            ]
            options = {"binary": shutil.which("chromium"), "args": arguments}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self.session = "/session/" + session["sessionId"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if hasattr(self, "session"):
            self.call("DELETE", self.session)
        self.driver.terminate()
        self.driver.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", method=method, data=data, headers={"Content-Type": "application/json"}
        )
        return json.load(urllib.request.urlopen(request, timeout=120))["value"]

    def ready(self):
        try:
            return self.call("GET", "/status")["ready"]
        except OSError:
            return False

    def wait(self, condition, what, seconds=60):
        end = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < end, f"waited {seconds} s for {what}"
            time.sleep(0.05)
        return result

    def open(self, url):
        self.call("POST", self.session + "/url", {"url": url})

    def title(self):
        return self.call("GET", self.session + "/title")

    def run(self, script):
        """What the body of a function of the page returns."""
        return self.call("POST", self.session + "/execute/sync", {"script": script, "args": []})

    def console(self):
        """What was written to the console since the last call."""
        entries = self.call("POST", self.session + "/se/log", {"type": "browser"})
        return [f"{entry['level']}: {entry['message']}" for entry in entries]

    def screenshot(self):
        """A PNG file."""
        return base64.b64decode(self.call("GET", self.session + "/screenshot"))


def colours(png):
    """How often each colour is in a PNG picture of eight bits a channel, as (red, green, blue) -> pixels."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, data = 8, b""
    while at < len(png):
        (length,), kind = struct.unpack(">I", png[at : at + 4]), png[at + 4 : at + 8]
        body = png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour_type = struct.unpack(">IIBB", body[:10])
            assert depth == 8 and colour_type in (2, 6), (depth, colour_type)
            channels = {2: 3, 6: 4}[colour_type]
        elif kind == b"IDAT":
            data += body
        at += 12 + length
    raw, counts = zlib.decompress(data), {}
    stride = width * channels
    above = bytearray(stride)
    for row in range(height):
        start = row * (stride + 1)
        method, line = raw[start], bytearray(raw[start + 1 : start + 1 + stride])
        for byte in range(stride if method else 0):
            left = line[byte - channels] if byte >= channels else 0
            up = above[byte]
            corner = above[byte - channels] if byte >= channels else 0
            if method == 1:
                predicted = left
            elif method == 2:
                predicted = up
            elif method == 3:
                predicted = (left + up) // 2
            else:
                guess = left + up - corner
                predicted = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
            line[byte] = (line[byte] + predicted) & 255
        for pixel in range(0, stride, channels):
            colour = tuple(line[pixel : pixel + 3])
            counts[colour] = counts.get(colour, 0) + 1
        above = line
    return counts
