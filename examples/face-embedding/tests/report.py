"""Opens the page of a run in a headless Chromium, as the gate does: it must render without a word on the console, ask nobody for
anything, and show its charts and pictures.

python3 report.py RUN/report.html [SCREENSHOT.png]"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "playground" / "tests"))

from browser import Browser, colours  # noqa: E402


def main():
    page, *screenshot = sys.argv[1:]
    with Browser("--window-size=1200,3600") as browser:
        browser.open(pathlib.Path(page).resolve().as_uri())
        count = lambda selector: browser.run(f"return document.querySelectorAll({selector!r}).length")
        assert count("svg") == 6, count("svg")
        assert count("polyline") >= 6 and count("polygon") == 2 and count("circle") >= 8
        broken = "return [...document.images].filter((image) => !image.complete || image.naturalWidth === 0).length"
        assert count("img") >= 4 and browser.run(broken) == 0
        empty = "return [...document.querySelectorAll('svg')].filter((svg) => svg.getBBox().width < 100).length"
        assert browser.run(empty) == 0
        asked = browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert all(name.startswith("data:") for name in asked), asked
        assert count("script") == 0
        console = browser.console()
        assert not console, console
        picture = browser.screenshot()
        if screenshot:
            pathlib.Path(screenshot[0]).write_bytes(picture)
        assert len(colours(picture)) > 50, "the page is nearly blank"
    print(f"{page}: rendered, {count_of(page)} bytes")


def count_of(page):
    return pathlib.Path(page).stat().st_size


main()
