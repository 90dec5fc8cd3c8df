//! `eval --templates`: the protocol of the IJB sets, on a small set in their form that `templates/generate.py` wrote.

use std::fs;
use std::path::{Path, PathBuf};

use face_embedding::protocols::templates::{Subjects, TemplatePair, TemplatePicture, TemplateSums, read_lines};
use serde_json::Value;

use super::{TINY, fresh, refused, run, write_people};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tool/templates").join(name)
}

/// Features of the file instead of embeddings.
#[test]
fn figures_are_those_of_a_naive_computation() {
    let expected: Value = serde_json::from_slice(&fs::read(file("figures.json")).expect("it is there")).expect("JSON");
    let pictures: Vec<TemplatePicture> = read_lines(&file("face_tid_mid.txt")).expect("it is in the form");
    let features = fs::read_to_string(file("features.csv")).expect("it is there");
    let points = fs::read_to_string(file("name_5pts_score.txt")).expect("it is there");
    assert_eq!(expected["pictures"], pictures.len());
    let mut sums = TemplateSums::default();
    for ((picture, features), points) in pictures.iter().zip(features.lines()).zip(points.lines()) {
        let features: Vec<f32> = features.split(',').map(|number| number.parse().expect("a number")).collect();
        let score = points.split(' ').next_back().expect("a score").parse().expect("a number");
        assert!(points.starts_with(&picture.name));
        sums.add(picture, &features, score);
    }
    let templates = sums.templates();
    assert_eq!(expected["templates"], templates.count());

    let pairs: Vec<TemplatePair> = read_lines(&file("template_pair_label.txt")).expect("it is in the form");
    let found = templates.verify(&pairs).expect("all are there");
    assert_eq!(expected["genuine_pairs"], found.genuine_pairs);
    assert_eq!(expected["impostor_pairs"], found.impostor_pairs);
    let near = |found: Option<f64>, expected: &Value, name: &str| match (found, expected.as_f64()) {
        (Some(found), Some(expected)) => assert!((found - expected).abs() < 1e-12, "{name}: {found} for {expected}"),
        (found, expected) => assert_eq!(found, expected, "{name}"),
    };
    let rates = expected["tar_at_far"].as_object().expect("an object");
    assert_eq!(rates.len(), 4);
    for (rate, expected) in rates {
        near(found.tar_at_far[rate], expected, rate);
    }
    let subjects = |name: &str| Subjects::read(&file(&format!("{name}.csv"))).expect("it is in the form");
    let galleries = ["gallery_G1", "gallery_G2"].map(|name| (name.to_string(), subjects(name)));
    let found = templates.search(&subjects("probe_mixed"), &galleries).expect("all are there");
    assert_eq!(found.keys().collect::<Vec<_>>(), ["all", "gallery_G1", "gallery_G2"]);
    for (name, expected) in expected["search"].as_object().expect("an object") {
        let found = &found[name];
        for (count, field) in
            [(found.gallery, "gallery"), (found.mated_probes, "mated_probes"), (found.unmated_probes, "unmated_probes")]
        {
            assert_eq!(expected[field], count, "{name}: {field}");
        }
        for (rank, expected) in expected["found_within"].as_object().expect("an object") {
            near(found.found_within[rank], expected, name);
        }
        for (rate, expected) in expected["fnir_at_fpir"].as_object().expect("an object") {
            near(found.fnir_at_fpir[rate], expected, name);
        }
    }
}

/// Four people with three templates each: a picture to enrol, and two templates of two pictures, to search for.
#[test]
fn templates_of_pictures_are_compared_and_searched_for() {
    let folder = fresh("templates");
    let output = folder.join("run");
    run(&format!("train {TINY} --output {}", output.display())).expect("a tiny run works");
    write_people(&folder.join("drawn"), 4, 5, 9);
    let data = folder.join("crops");
    fs::create_dir_all(&data).expect("writable");
    let (mut list, mut points, mut tables) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
    for person in 0..4 {
        for (number, template) in [1, 2, 2, 3, 3].into_iter().enumerate() {
            let place = 5 * person + number;
            let ending = ["png", "bmp", "ppm"][place % 3];
            let name = format!("{place}.{ending}");
            fs::copy(folder.join(format!("drawn/person {person}/{name}")), data.join(&name)).expect("a drawn picture");
            let template = 10 * person + template;
            // A video of two pictures, and two pictures.
            let media = if template % 10 == 2 { 500 + person } else { place };
            list.push(format!("{name} {template} {media}"));
            points.push(format!("{name} 8.2 11.1 15.8 11.0 12.0 15.4 8.9 19.8 15.2 19.8 0.{}", 9 - number));
        }
        let table = if person < 2 { 0 } else { 1 };
        tables[table].push(format!("{},{person},x.jpg", 10 * person + 1));
        tables[2].extend([2, 3].map(|template| format!("{},{person},y.jpg", 10 * person + template)));
    }
    let templates: Vec<usize> = (0..4).flat_map(|person| [1, 2, 3].map(|template| 10 * person + template)).collect();
    let pair = |(&one, &other): (&usize, &usize)| format!("{one} {other} {}", u8::from(one / 10 == other / 10));
    let pairs: Vec<String> = templates
        .iter()
        .enumerate()
        .flat_map(|(place, one)| templates[place + 1..].iter().map(move |other| (one, other)))
        .map(pair)
        .collect();
    let write = |name: &str, lines: &[String]| {
        let file = folder.join(name);
        fs::write(&file, lines.join("\n") + "\n").expect("writable");
        file.display().to_string()
    };
    let tables = ["g1.csv", "g2.csv", "probes.csv"].map(|name| {
        let place = ["g1.csv", "g2.csv", "probes.csv"].iter().position(|other| *other == name).expect("one of them");
        let header = vec!["TEMPLATE_ID,SUBJECT_ID,FILENAME".to_string()];
        write(name, &[header, tables[place].clone()].concat())
    });
    let [list, points, pairs] = [write("list.txt", &list), write("points.txt", &points), write("pairs.txt", &pairs)];
    let json = folder.join("figures.json");
    let base = format!("eval --run {} --data {} --templates {list}", output.display(), data.display());
    let asked =
        format!("--template-pairs {pairs} --gallery {} --gallery {} --probes {}", tables[0], tables[1], tables[2]);
    let figures = |more: &str| -> (String, Value) {
        let text = run(&format!("{base} {asked} {more} --json {}", json.display())).expect("all are there");
        (text, serde_json::from_slice(&fs::read(&json).expect("it was written")).expect("JSON"))
    };
    let (text, found) = figures("");
    assert!(text.contains("12 templates of 20 pictures") && text.contains("test:  unseen in training"), "{text}");
    // By hand: three pairs of each of four people, of 66.
    assert_eq!(
        (&found["verification"]["genuine_pairs"], &found["verification"]["impostor_pairs"]),
        (&12.into(), &54.into())
    );
    assert!(
        found["verification"]["tar_at_far"]["1e-1"].is_number() && found["verification"]["auc"].as_f64() > Some(0.5)
    );
    let of = |name: &str| {
        let counts = ["gallery", "mated_probes", "unmated_probes"];
        counts.map(|count| found["search"][name][count].as_u64().expect("a count"))
    };
    assert_eq!((of("g1"), of("g2"), of("all")), ([2, 4, 4], [2, 4, 4], [4, 8, 0]));
    assert!(text.contains("1:N in g1, 2 enrolled, 4 probes of them and 4 of others"), "{text}");
    let (_, aligned) = figures(&format!("--points {points}"));
    assert_ne!(aligned["verification"]["auc"], found["verification"]["auc"]);

    let error = refused(&base);
    assert!(error.contains("templates: give --template-pairs, or --gallery and --probes"), "{error}");
    let error = refused(&format!("{base} --gallery {}", tables[0]));
    assert!(error.contains("--probes"), "{error}");
    fs::write(folder.join("pairs.txt"), "1 99 0\n1 2 1\n").expect("writable");
    let error = refused(&format!("{base} --template-pairs {pairs}"));
    assert!(error.contains("template 99 is asked for, and has no picture in"), "{error}");
    fs::write(folder.join("pairs.txt"), "1 11 0\n1 2 yes\n").expect("writable");
    let error = refused(&format!("{base} --template-pairs {pairs}"));
    assert!(error.contains("line 2: \"1 2 yes\": the label must be 0 or 1"), "{error}");
    fs::write(folder.join("g1.csv"), "TEMPLATE_ID,SUBJECT_ID\n1,0\n2,0\n").expect("writable");
    let error = refused(&format!("{base} --gallery {} --probes {}", tables[0], tables[2]));
    assert!(error.contains("g1.csv: subject 0 has several templates"), "{error}");
    let error = refused(&format!("{base} {asked} --protocol exact"));
    assert!(error.contains("cannot be used with"), "{error}");
    // Somebody in both galleries is in none of all together; pairs are as they were.
    fs::write(folder.join("g1.csv"), "TEMPLATE_ID,SUBJECT_ID\n1,0\n12,2\n").expect("writable");
    let search = format!("--gallery {} --gallery {} --probes {}", tables[0], tables[1], tables[2]);
    let text = run(&format!("{base} {search}")).expect("each has everybody once");
    assert!(text.contains("1:N in g1, 2 enrolled") && !text.contains("1:N in all"), "{text}");
    fs::remove_file(data.join("0.png")).expect("a picture");
    let error = refused(&format!("{base} --gallery {} --probes {}", tables[1], tables[2]));
    assert!(error.contains("there is no picture 0.png in"), "{error}");
}
