//! Counts stay whole on a device whose numbers are half precision unless told otherwise.
//!
//! One test, alone in its file, because the default of a device belongs to the whole process.

use burn::tensor::{Device, Distribution, FloatDType, Int, Tensor};
use burn_losses::pairs::InfoNceLossConfig;
use burn_losses::reduction::EmbeddingReduction;

#[test]
fn a_mean_over_more_positives_than_half_precision_counts_is_that_of_its_sum() {
    let mut device = Device::flex();
    device.configure(FloatDType::BF16).unwrap();
    // Two classes of 300 rows: bf16 rounds 299 positives to 300.
    let rows = 600;
    let embeddings = Tensor::<2>::random([rows, 4], Distribution::Default, &device).cast(FloatDType::F32);
    let labels = Tensor::<1, Int>::arange(0..rows as i64, &device).remainder_scalar(2);
    let reduced = |reduction| {
        let loss = InfoNceLossConfig::new().with_temperature(0.5).with_reduction(reduction).init(&device);
        loss.forward(embeddings.clone(), labels.clone()).into_scalar::<f32>()
    };
    let (mean, sum) = (reduced(EmbeddingReduction::Mean), reduced(EmbeddingReduction::Sum));
    let positives = (rows * (rows / 2 - 1)) as f32;
    assert!((mean * positives / sum - 1.0).abs() < 1e-5, "{mean} of {sum}");
}
