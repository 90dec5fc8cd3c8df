//! Size: the numbers stay exact, and memory stays within what the crate's documentation says.
//!
//! One test, alone in its file, because peak memory belongs to the whole process.

use embedding_eval::{ScoredPairs, contiguous_folds, k_fold_accuracy, roc};

/// 1 GiB for ten million pairs.
const BYTES_PER_PAIR: usize = (1 << 30) / 10_000_000;

/// For the program itself.
const BYTES_AT_START: usize = 16 << 20;

/// A million pairs by default. Ten million, in the release profile:
///
/// ```text
/// PAIRS=10000000 cargo test --release -p embedding-eval --test ten_million_pairs
/// ```
#[test]
fn many_pairs_are_exact_and_fit_in_memory() {
    let pairs: usize = match std::env::var("PAIRS") {
        Ok(pairs) => pairs.parse().expect("PAIRS is an even number"),
        Err(_) => 1_000_000,
    };
    // Each of 0, 1, ..., pairs - 1 once, in a scattered order: the factor is a prime.
    let scores: Vec<f64> = (0..pairs).map(|index| (index * 7_919 % pairs) as f64).collect();
    let same: Vec<bool> = scores.iter().map(|&score| score % 2.0 == 1.0).collect();
    let half = pairs / 2;
    let scored = ScoredPairs::new(&scores, &same).unwrap();

    let curve = roc(scored).unwrap();
    assert_eq!(curve.points().len(), pairs + 1);
    // By hand: genuine 2j + 1 wins against the j + 1 impostors 0, 2, ..., 2j; the sum over j is
    // half * (half + 1) / 2.
    assert_eq!(curve.area(), (half + 1) as f64 / (2 * half) as f64);
    // By hand: the scores alternate genuine, impostor from the top, so FAR 1/100 is passed after
    // half / 100 impostors and one genuine pair more.
    let measured = curve.tar_at_far(0.01).unwrap();
    assert_eq!(measured.tar, (half / 100 + 1) as f64 / half as f64);
    assert!(measured.is_reliable());

    // By hand: whatever is left out, the balance of accepted pairs of the others stays small
    // against their number, so the accuracy is near one half.
    let folds = contiguous_folds(pairs, 10).unwrap();
    let accuracy = k_fold_accuracy(scored, &folds).unwrap();
    assert!((accuracy.mean - 0.5).abs() < 0.01, "{accuracy:?}");

    if let Some(peak) = peak_memory() {
        let allowed = BYTES_AT_START + BYTES_PER_PAIR * pairs;
        assert!(peak <= allowed, "{peak} bytes of {allowed}");
    }
    // The curve lives until here, so that the peak includes it.
    assert_eq!(curve.impostors(), half);
}

/// Peak resident memory of this process in bytes, where the system tells.
fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}
