//! `report.html`: all of a run on a page that asks nobody for anything.

use super::*;

#[test]
fn a_run_leaves_a_page_that_shows_it() {
    let folder = fresh("report-page");
    let people = folder.join("people");
    write_people(&people, 12, 5, 3);
    // A name that would be markup, and a file that is no picture.
    std::fs::rename(people.join("person 11"), people.join("<script>alert(1)&")).expect("a folder can be renamed");
    std::fs::write(people.join("person 0/notes.png"), "no picture").expect("the test folder is writable");
    let output = folder.join("run");
    let seed = "--pair-seed 1 --held-out-share 0.5";
    // Spaces separate arguments here, so the folder has none.
    run(&format!("train --data {} {TINY_MODEL} {seed} --output {}", people.display(), output.display()))
        .expect("it trains");
    let page = std::fs::read_to_string(output.join("report.html")).expect("there is a page");

    for part in
        ["<h2>Training</h2>", "<polyline class=\"line one\"", "<polygon class=\"area two\"", "<circle", "notes.png"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(page.matches("<img src=\"data:image/png;base64,").count() >= 4);
    // No script, no address of another place.
    assert!(
        !page.contains("<script") && !page.contains("http://") && !page.contains("https://") && !page.contains("NaN")
    );
    let manifest = std::fs::read_to_string(output.join("manifest.json")).expect("there is a manifest");
    assert!(manifest.contains("report.html"), "{manifest}");
}
