//! Labels of every integer type.

use burn::tensor::{DType, Int, IntDType, Tensor, TensorData};
use burn_losses_kernels::scores::{Comparison, Counted, Normalise, scores};
use parity::{Backend, backends};
use support::close::assert_close;
use support::naive::scores as naive;
use support::table::host;

use super::{On, rows};

/// A conversion from `i64`.
type Write = fn(&[i64]) -> TensorData;

/// All integers that Burn knows.
const TYPES: [(IntDType, Write); 8] = [
    (IntDType::I8, |labels| TensorData::from(labels.iter().map(|&label| label as i8).collect::<Vec<_>>().as_slice())),
    (IntDType::I16, |labels| TensorData::from(labels.iter().map(|&label| label as i16).collect::<Vec<_>>().as_slice())),
    (IntDType::I32, |labels| TensorData::from(labels.iter().map(|&label| label as i32).collect::<Vec<_>>().as_slice())),
    (IntDType::I64, |labels| TensorData::from(labels)),
    (IntDType::U8, |labels| TensorData::from(labels.iter().map(|&label| label as u8).collect::<Vec<_>>().as_slice())),
    (IntDType::U16, |labels| TensorData::from(labels.iter().map(|&label| label as u16).collect::<Vec<_>>().as_slice())),
    (IntDType::U32, |labels| TensorData::from(labels.iter().map(|&label| label as u32).collect::<Vec<_>>().as_slice())),
    (IntDType::U64, |labels| TensorData::from(labels.iter().map(|&label| label as u64).collect::<Vec<_>>().as_slice())),
];

fn range(dtype: IntDType) -> (i64, i64) {
    match dtype {
        IntDType::I8 => (-128, 127),
        IntDType::I16 => (i16::MIN.into(), i16::MAX.into()),
        IntDType::I32 => (i32::MIN.into(), i32::MAX.into()),
        IntDType::I64 => (i64::MIN, i64::MAX),
        IntDType::U8 => (0, 255),
        IntDType::U16 => (0, u16::MAX.into()),
        IntDType::U32 => (0, u32::MAX.into()),
        // What is larger is refused.
        IntDType::U64 => (0, i64::MAX),
    }
}

/// The types that a backend can hold labels in, and compute with.
fn types(backend: &Backend) -> Vec<(IntDType, Write)> {
    let holds = |dtype: IntDType| backend.device.supports_dtype(dtype);
    TYPES.into_iter().filter(|&(dtype, _)| holds(dtype)).collect()
}

/// Every label from -2 to beyond the last class, in every type that has it.
#[test]
fn a_class_is_the_same_in_every_type() {
    for backend in backends() {
        let on = On(&backend);
        let (count, dim) = (600, 3);
        let all: Vec<i64> = [-2, -1, 0, 1, 127, 128, 200, 255, 256, 300, 599, 600, 40_000, (1 << 32) + 1].to_vec();
        for (dtype, write) in types(&backend) {
            let (least, most) = range(dtype);
            let most = if on.is_gpu() { most.min(i32::MAX.into()) } else { most };
            let labels: Vec<i64> = all.iter().copied().filter(|label| (least..=most).contains(label)).collect();
            let (x, w) = (rows(labels.len(), dim, 0), rows(count, dim, 1));
            let expected = naive::class_scores(&x, &w, &labels, 4.0);
            let labels = Tensor::<1, Int>::from_data(write(&labels), (&backend.device, DType::from(dtype)));
            assert_eq!(labels.dtype(), DType::from(dtype));
            let comparison = Comparison { normalise: Normalise::Both, ..Comparison::new(4.0) };
            let scores = scores(on.matrix(&x), on.matrix(&w), labels, comparison);
            let actual = host(Tensor::stack::<2>(vec![scores.target, scores.sum], 1));
            assert_close(&format!("{dtype:?} on {}", backend.name), &actual, &expected, on.tolerance());
        }
    }
}

/// Identities of any size, in every type that has them, on either side.
#[test]
fn identities_keep_apart_in_every_type() {
    const IDENTITIES: [i64; 8] = [0, 100, 40_000, 1 << 31, (1 << 31) + 1, (1 << 32) - 1, (1 << 32) + 100, i64::MAX];
    for backend in backends() {
        let on = On(&backend);
        let types = types(&backend);
        for &(of_queries, write) in &types {
            for &(of_keys, write_keys) in &types {
                let most = range(of_queries).1.min(range(of_keys).1);
                // There unsigned integers have 32 bits.
                let most = if on.is_gpu() { most.min(i32::MAX.into()) } else { most };
                let identities: Vec<i64> = IDENTITIES.into_iter().filter(|&identity| identity <= most).collect();
                let count = identities.len();
                let keys: Vec<i64> = identities.iter().chain(&identities).copied().collect();
                let (x, w) = (rows(count, 3, 0), rows(2 * count, 3, 1));
                let tensor = |data, dtype| Tensor::<1, Int>::from_data(data, (&backend.device, DType::from(dtype)));
                let labels = || tensor(write_keys(&keys), of_keys);
                for (counted, plain) in [
                    (Counted::OtherLabels(labels()), naive::Counted::OtherLabels(&keys)),
                    (Counted::SameLabel { labels: labels(), in_batch: false }, naive::Counted::SameLabel(&keys, false)),
                ] {
                    let comparison = Comparison { counted, ..Comparison::new(2.0) };
                    let sum =
                        scores(on.matrix(&x), on.matrix(&w), tensor(write(&identities), of_queries), comparison).sum;
                    let plain = naive::Comparison {
                        counted: plain,
                        term: naive::Term::Exp,
                        bias: None,
                        normalise: [false; 2],
                        scale: 2.0,
                        sub_centers: 1,
                        gamma: None,
                    };
                    let [_, expected, ..] = naive::scores(&x, &w, &identities, &plain);
                    let what = format!("{of_queries:?} and {of_keys:?} on {}", backend.name);
                    assert_close(&what, &host(sum), &expected, on.tolerance());
                }
            }
        }
    }
}
