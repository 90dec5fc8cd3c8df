"""Builds the page, serves it, and uses it as a person would, in a headless Chromium without a network.

python3 page.py [SCREENSHOT.png]; `--webgpu` builds and tries the module for WebGPU, too. cargo, chromium, chromedriver and node are on
the path."""

import pathlib
import re
import subprocess
import sys

from browser import Browser, colours

HERE = pathlib.Path(__file__).parent
STEPS = 200
# Of page/drawing.js.
CLASSES = [(0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (140, 107, 177), (138, 143, 152)]


def serve(*arguments):
    command = ["cargo", "playground", *arguments, "serve", "--port", "0"]
    server = subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True)
    folder = address = None
    for line in server.stdout:
        print(line, end="", flush=True)
        folder = folder or (found := re.match("the page is in (.*)", line)) and found[1]
        if found := re.match("open (http://[^ ]*)", line):
            return server, folder, found[1]
    sys.exit(f"{' '.join(command)}: {server.wait()}")


def trained(browser, address, query, steps=STEPS, seconds=120):
    """Opens the page, waits until it has trained, and gives its report; nothing may have been written to the console."""
    browser.open(f"{address}?steps={steps}&{query}")
    end = browser.wait(lambda: browser.title() in ("done", "failed") and browser.title(), query, seconds)
    assert end == "done", browser.run("return document.getElementById('error').textContent")
    report = browser.run("return window.report")
    print(query, report, flush=True)
    assert report["steps"] == steps
    # Of contrastive losses the least is not zero: SupCon of 32 samples of a class ends at log(31).
    assert report["loss"] < 0.8 * report["first"], report
    # With a module for graphics cards the page asks for one; a browser without writes so.
    console = [line for line in browser.console() if "No available adapters" not in line]
    assert not console, console
    return report


def test(browser, folder, address, screenshot):
    report = trained(browser, address, "loss=ArcFace")
    assert report["accuracy"] > 0.9, report
    # The same sums in the same order: the same number to its last digit.
    in_node = subprocess.run(["node", HERE / "node.mjs", folder, str(STEPS)], check=True, capture_output=True, text=True)
    assert float(in_node.stdout) == report["loss"], (in_node.stdout, report["loss"])

    picture = browser.screenshot()
    if screenshot:
        pathlib.Path(screenshot).write_bytes(picture)
    found = colours(picture)
    for colour in CLASSES:
        # Samples are drawn a little transparent, so they are near their colour on a white page; the rays are, too.
        near = sum(count for other, count in found.items() if max(abs(a - b) for a, b in zip(colour, other)) <= 45)
        assert near > 100, f"{colour} is seen in {near} pixels"

    # A click on a sample gives it the next class; the page shows it with a ring, and trains on.
    clicked = """
        const canvas = document.getElementById('embeddings'), box = canvas.getBoundingClientRect();
        for (const kind of ['pointerdown', 'pointerup']) canvas.dispatchEvent(new PointerEvent(kind, {
            pointerId: 1, clientX: box.left + window.samplePlaces()[5].x / 560 * box.width, clientY: box.top + window.samplePlaces()[5].y / 560 * box.height,
        }));"""
    wrong = "return window.wrongLabels()"
    assert browser.run(wrong) == 0
    browser.run("HTMLElement.prototype.setPointerCapture = () => {};" + clicked)
    browser.wait(lambda: browser.run(wrong) == 1, "a wrong label", 10)

    # By keyboard: two samples on, and its class is the next but one, as is said; arrows turn what is seen.
    browser.run("""
        const stage = document.getElementById('embeddings');
        for (const key of ['.', '.', '.', ',', 'Enter', 'Enter', 'ArrowLeft'])
            stage.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));""")
    said = r"sample 2 of 256: class (\d), in truth of class (\d)"
    chosen = "return document.getElementById('chosen').textContent"
    two_on = lambda: (found := re.fullmatch(said, browser.run(chosen))) and (int(found[1]) - int(found[2])) % len(CLASSES) == 2
    browser.wait(two_on, "what is said of the sample", 10)
    assert browser.run(wrong) == 2

    # A finger need not meet a sample: 20 pixels away is near enough, and the page moves under it while there is no sphere to turn.
    browser.run("""
        const canvas = document.getElementById('embeddings'), box = canvas.getBoundingClientRect();
        const lowest = window.samplePlaces().reduce((low, sample) => sample.y > low.y ? sample : low);
        for (const kind of ['pointerdown', 'pointerup']) canvas.dispatchEvent(new PointerEvent(kind, { pointerId: 2, pointerType: 'touch',
            clientX: box.left + lowest.x / 560 * box.width, clientY: box.top + lowest.y / 560 * box.height + 20,
        }));""")
    browser.wait(lambda: browser.run(wrong) == 3, "a wrong label by a finger", 10)
    assert browser.run("return getComputedStyle(document.getElementById('embeddings')).touchAction") == "manipulation"

    # A setting out of its range is named, and the page goes on with the next.
    change = """
        const field = document.querySelector('#loss-settings input[name=margin]');
        field.value = '%s'; field.dispatchEvent(new Event('change', { bubbles: true }));"""
    browser.run(change % "9")
    browser.wait(lambda: browser.title() == "failed", "an error", 10)
    said = browser.run("return document.getElementById('error').textContent")
    assert "margin" in said and "9" in said, said
    print("a margin of 9:", said)
    browser.run(change % "0.3")
    browser.wait(lambda: browser.title() == "done", "a training after an error", 30)

    # A loss that is no number any more is told: the square of this margin is none.
    browser.open(f"{address}?loss=ContrastiveLoss")
    browser.wait(lambda: browser.run("return (window.shown() ?? { steps: 0 }).steps > 0"), "a step", 30)
    browser.run(change.replace("margin", "negative_margin") % "1e30")
    browser.wait(lambda: browser.title() == "failed", "an infinite loss", 10)
    said = browser.run("return document.getElementById('error').textContent")
    assert said == "The loss is no number any more: take a smaller learning rate, or other settings of the loss.", said

    # While it trains, another number of samples: nothing of the training before is shown, and none of the labels is wrong.
    browser.open(f"{address}?loss=CosFace")
    browser.wait(lambda: browser.run("return (window.shown() ?? { steps: 0 }).steps > 5"), "five steps", 30)
    for samples in (64, 512, 100):
        browser.run(
            f"const field = document.getElementById('samples'); field.value = {samples};"
            "field.dispatchEvent(new Event('change', { bubbles: true }));"
        )
        shown = browser.wait(lambda: browser.run("const all = window.shown(); return all && all.steps > 0 && all"), "steps", 30)
        assert shown["samples"] == samples and browser.run(wrong) == 0, shown
        assert all(before[0] < after[0] for before, after in zip(shown["curve"], shown["curve"][1:])), shown["curve"]

    # A field that is empty or out of range is not trained with.
    browser.run("document.getElementById('samples').value = ''; document.getElementById('again').click();")
    assert browser.run("return document.querySelector(':invalid#samples') !== null && window.shown().samples") == 100

    for query in ("loss=Softmax and CenterLoss", "loss=TripletLoss", "loss=SubCenterArcFace&dimensions=3", "loss=SupConLoss&dimensions=3"):
        trained(browser, address, query.replace(" ", "%20"))
        if screenshot and "3" in query:
            pathlib.Path(screenshot).with_suffix(".3d.png").write_bytes(browser.screenshot())

    # What opens the file itself is told why nothing moves.
    browser.open(pathlib.Path(folder, "index.html").as_uri())
    said = browser.run("const said = document.getElementById('error'); return said.hidden || said.textContent")
    assert "cargo playground serve" in str(said), said


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--webgpu"]
    webgpu = len(arguments) < len(sys.argv) - 1
    server, folder, address = serve(*([] if webgpu else ["--processor-only"]))
    try:
        with Browser() as browser:
            test(browser, folder, address, arguments[0] if arguments else None)
        if webgpu:
            # Without a graphics card Chromium has one of its own, of a step in some seconds.
            flags = ["--enable-unsafe-webgpu", "--enable-features=Vulkan", "--use-webgpu-adapter=swiftshader"]
            with Browser(*flags) as browser:
                report = trained(browser, address, "loss=ArcFace&backend=webgpu", steps=10, seconds=400)
                assert report["device"] == "WebGPU, streamed head", report
    finally:
        server.kill()


main()
