//! `eval --pairs`: the protocol of Labeled Faces in the Wild.

use std::fs;

use super::{TINY, fresh, refused, run, write_people};

#[test]
fn pairs_of_a_file_are_asked_in_its_folds() {
    let folder = fresh("lfw");
    let output = folder.join("run");
    run(&format!("train {TINY} --output {}", output.display())).expect("a tiny run works");
    // Twenty people with two pictures each, named as LFW names them.
    write_people(&folder.join("drawn"), 20, 2, 9);
    let people = folder.join("people");
    for person in 0..20 {
        fs::create_dir_all(people.join(format!("P_{person}"))).expect("writable");
        for number in 0..2 {
            let place = 2 * person + number;
            let ending = ["png", "bmp", "ppm"][place % 3];
            let file = format!("P_{person}/P_{person}_{:04}.{ending}", number + 1);
            fs::rename(folder.join(format!("drawn/person {person}/{place}.{ending}")), people.join(file))
                .expect("a drawn picture");
        }
    }
    let mut lines = vec!["10\t2".to_string()];
    for fold in 0..10 {
        let [one, other] = [2 * fold, 2 * fold + 1];
        lines.extend([one, other].map(|person| format!("P_{person}\t1\t2")));
        lines.extend([1, 2].map(|number| format!("P_{one}\t{number}\tP_{other}\t{number}")));
    }
    let pairs = folder.join("pairs.txt");
    fs::write(&pairs, lines.join("\n")).expect("writable");

    let json = folder.join("figures.json");
    let line = |more: &str| {
        let [run, data, pairs] = [&output, &people, &pairs].map(|path| path.display());
        format!("eval --run {run} --data {data} --pairs {pairs} {more}")
    };
    for protocol in ["exact", "insightface"] {
        let text = run(&line(&format!("--protocol {protocol} --json {}", json.display()))).expect("all are there");
        assert!(text.contains("40 pictures of 20 people, unseen in training"), "{text}");
        assert!(text.contains("40 pairs in 10 folds") && text.contains("TAR at FAR <= 1e-1"), "{text}");
        let figures: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&json).expect("it was written")).expect("JSON");
        assert_eq!((&figures["protocol"], &figures["pairs"]), (&protocol.into(), &40.into()));
        let number = |name: &str| figures[name].as_f64().expect("a number");
        // sqrt(sum / 10) and sqrt(sum / 9) / sqrt(10): their ratio is 3.
        assert!((number("accuracy_std") - 3.0 * number("accuracy_standard_error")).abs() < 1e-12, "{figures}");
        assert!((0.0..=1.0).contains(&number("accuracy")) && number("auc") > 0.5, "{figures}");
        // 18 impostor pairs in the other folds and 20 in all.
        assert!(figures["val_at_far"]["1e-2"].is_null() && figures["tar_at_far"]["1e-2"].is_null());
        assert!(figures["intervals"]["tar_at_far"]["1e-1"].is_array());
    }

    fs::remove_file(people.join("P_3").join("P_3_0001.png")).expect("a picture");
    fs::write(people.join("P_4").join("P_4_0001.jpg"), "another").expect("writable");
    let error = refused(&line(""));
    assert!(
        error.contains("2 of 40 pictures cannot be used") && error.contains("P_3_0001: there is no such"),
        "{error}"
    );
    assert!(error.contains("P_4/P_4_0001: there are 2 files of that name"), "{error}");
    let error = refused(&format!("eval --run {} --pairs {}", output.display(), pairs.display()));
    assert!(error.contains("--data"), "{error}");
}
