use burn::tensor::Tensor;

use crate::distances::{Metric, distances_reference};

pub(super) fn shortened_rows(rows: Tensor<2>, threshold: f64) -> Tensor<2> {
    let shape = rows.dims();
    let origin = Tensor::zeros([1, shape[1]], (&rows.device(), rows.dtype()));
    let lengths = distances_reference(rows.clone(), origin, Metric::Euclidean);
    let gone = lengths.clone().lower_equal_scalar(threshold);
    let kept = lengths.clone().sub_scalar(threshold) / lengths.mask_fill(gone.clone(), 1.0);

    // The sum with 0 takes the sign off a zero.
    (rows * kept.mask_fill(gone, 0.0).expand(shape)).add_scalar(0.0)
}
