use parity::{backends, golden_cells, markdown};
use support::close::{Tolerance, assert_close};
use support::golden::cases;
use support::table::table;

#[test]
fn every_loss_agrees_with_the_golden_numbers_on_every_backend() {
    let cells = golden_cells(&backends());
    println!("{}", markdown(&cells));

    let failures: Vec<String> = cells.into_iter().flat_map(|cell| cell.failures).collect();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// The oracles and the golden numbers come from different hands.
#[test]
fn the_plain_loops_agree_with_the_golden_numbers() {
    for row in table() {
        for case in cases(row.family).iter().filter(|case| case.loss == row.loss) {
            let expected = &case.expected.losses.data;
            assert_close(&case.name, &(row.naive)(case), expected, Tolerance::new(1e-11, 1e-12));
            if let Some(centers) = case.expected.outputs.get("centers") {
                let updated = support::naive::center::updated(case);
                assert_close(&case.name, &updated, &centers.data, Tolerance::new(1e-13, 1e-14));
            }
        }
    }
}

#[test]
fn every_golden_case_belongs_to_a_row_of_the_table() {
    let families: std::collections::BTreeSet<&str> = table().map(|row| row.family).collect();
    for case in families.into_iter().flat_map(cases) {
        assert!(table().any(|row| row.loss == case.loss), "{} is tested by nobody", case.name);
    }
}
