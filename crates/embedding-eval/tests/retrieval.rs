//! Compares retrieval with `retrieval.tsv`, which `generate_retrieval.py` wrote with pytorch-metric-learning 2.9.0.

use embedding_eval::{LabelledRows, Nearness, retrieval, retrieval_among};

/// The figures are shares and sums of shares, in f64 on both sides.
const TOLERANCE: f64 = 1e-12;
/// The mean reciprocal rank is in f32 there.
const TOLERANCE_OF_RANKS: f64 = 1e-7;

fn numbers<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> Vec<T> {
    text.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

#[test]
fn figures_are_those_of_pytorch_metric_learning() {
    let text = include_str!("retrieval.tsv");
    let cases: Vec<&str> = text.split("case\t").skip(1).collect();
    assert_eq!(cases.len(), 10);
    for case in cases {
        let (head, rest) = case.split_once('\n').unwrap();
        let [name, nearness, dim, among] = head.split('\t').collect::<Vec<_>>()[..] else { panic!("{head}") };
        let line = |key: &str| {
            let lines = rest.lines().filter_map(|line| line.split_once('\t'));
            lines.filter(|(name, _)| *name == key).map(|(_, value)| value).next().unwrap_or_else(|| panic!("no {key}"))
        };
        let dim = dim.parse().unwrap();
        let nearness = match nearness {
            "Cosine" => Nearness::Cosine,
            "Euclidean" => Nearness::Euclidean,
            other => panic!("{other}"),
        };
        let (queries, query_labels) = (numbers(line("queries")), numbers(line("query_labels")));
        let queries = LabelledRows::new(&queries, dim, &query_labels).unwrap();
        let (references, reference_labels) = (numbers(line("references")), numbers(line("reference_labels")));
        let references = LabelledRows::new(&references, dim, &reference_labels).unwrap();
        let found = match among {
            "1" => retrieval_among(queries, nearness).unwrap(),
            _ => retrieval(queries, references, nearness).unwrap(),
        };

        assert_eq!(found.lone, line("lone").parse::<usize>().unwrap(), "{name}");
        let close = |key: &str, actual: f64, expected: f64, tolerance: f64| {
            assert!((actual - expected).abs() <= tolerance, "{name}, {key}: {actual} for {expected}");
        };
        for (key, actual, tolerance) in [
            ("precision_at_1", found.precision_at_1(), TOLERANCE),
            ("r_precision", found.r_precision(), TOLERANCE),
            ("mean_average_precision_at_r", found.map_at_r(), TOLERANCE),
            ("mean_reciprocal_rank", found.mean_reciprocal_rank(), TOLERANCE_OF_RANKS),
        ] {
            close(key, actual, line(key).parse().unwrap(), tolerance);
        }
        let recall: Vec<f64> = numbers(line("recall"));
        for pair in recall.chunks_exact(2) {
            close("recall", found.recall_at(pair[0] as usize), pair[1], TOLERANCE);
        }
    }
}
