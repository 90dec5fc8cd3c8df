use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor};
use burn_losses_kernels::math::{cast_to, unit_rows, widen};

use super::empty::losses_of_nothing;
use crate::reduction::EmbeddingReduction;

/// How many cosines exist at a time, if a class has no more of them than that: 64 MiB.
const COSINES: usize = 1 << 24;

/// Settings of [`RegularFaceRegularizer`]: there are none.
#[derive(Config, Debug)]
pub struct RegularFaceRegularizerConfig {}

impl RegularFaceRegularizerConfig {
    /// Builds the loss.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> RegularFaceRegularizer {
        RegularFaceRegularizer {}
    }
}

/// Pushes every class weight away from the nearest other one.
///
/// ```text
/// loss[j] = max over i != j of cosine(weights[j], weights[i])
/// ```
///
/// Beside the loss of a margin head, for classes that are spread evenly; of the head it takes `centers.weight.val()`.
/// The nearest class is found block by block and without gradients, so no more than 16 million cosines exist at a time, or
/// those of one class; the gradient flows through the cosine with that class only. A single class has loss 0, and the
/// cosine with a zero row is 0.
///
/// # Source
///
/// Zhao, Xu, Cheng: [RegularFace](https://openaccess.thecvf.com/content_CVPR_2019/html/Zhao_RegularFace_Deep_Face_Recognition_via_Exclusive_Regularization_CVPR_2019_paper.html),
/// 2019, section 3.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct RegularFaceRegularizer {}

impl RegularFaceRegularizer {
    /// One value for all classes; see [`forward_no_reduction`](Self::forward_no_reduction).
    pub fn forward(&self, weights: Tensor<2>, reduction: EmbeddingReduction) -> Tensor<1> {
        reduction.apply(self.forward_no_reduction(weights))
    }

    /// One value per class.
    ///
    /// # Shapes
    ///
    /// - weights: `[classes, embedding_dim]`
    /// - output: `[classes]`
    pub fn forward_no_reduction(&self, weights: Tensor<2>) -> Tensor<1> {
        let [classes, dim] = weights.dims();
        if let Some(nothing) = losses_of_nothing(&weights) {
            return nothing;
        }
        let dtype = weights.dtype();
        let unit = unit_rows(widen(weights));
        let cosines = if classes == 1 {
            let all = Tensor::<2, Bool>::full([1, dim], true, &unit.device());
            unit.mask_fill(all, 0.0).sum_dim(1)
        } else {
            let nearest = nearest_others(unit.clone().detach(), COSINES);
            (unit.clone() * unit.select(0, nearest)).sum_dim(1)
        };
        cast_to(cosines.squeeze_dim(1), dtype)
    }
}

/// The other row with the largest cosine, for every row; at most `cosines` of them are held at a time.
fn nearest_others(unit: Tensor<2>, cosines: usize) -> Tensor<1, Int> {
    let [classes, _] = unit.dims();
    let block = (cosines / classes).clamp(1, classes);
    let nearest = |start: usize| {
        let rows = unit.clone().narrow(0, start, block.min(classes - start));
        let size = [rows.dims()[0], classes];
        let others = rows.matmul(unit.clone().transpose()).mask_fill(own_places(start, size, &unit), -2.0);
        others.argmax(1).squeeze_dim::<1>(1)
    };
    let blocks: Vec<_> = (0..classes).step_by(block).map(nearest).collect();

    Tensor::cat(blocks, 0)
}

/// Where a row of the block that begins at `start` meets itself.
fn own_places(start: usize, size: [usize; 2], unit: &Tensor<2>) -> Tensor<2, Bool> {
    let numbers =
        |range: core::ops::Range<usize>| Tensor::<1, Int>::arange(range.start as i64..range.end as i64, &unit.device());
    let rows = numbers(start..start + size[0]).unsqueeze_dim::<2>(1).expand(size);
    rows.equal(numbers(0..size[1]).unsqueeze_dim::<2>(0).expand(size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn the_nearest_other_class_counts() {
        let weights = Tensor::<2>::from_data([[2.0_f32, 0.0], [0.3, 0.4], [0.0, -7.0]], &Device::flex());
        let loss = RegularFaceRegularizerConfig::new().init(&Device::flex()).forward_no_reduction(weights);
        let loss = loss.try_into_vec_as::<f32>().unwrap();

        // By hand: the cosines are 0.6, 0 and -0.8.
        for (value, expected) in loss.into_iter().zip([0.6, 0.6, 0.0]) {
            assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
        }
    }

    #[test]
    fn blocks_of_any_size_find_the_same_rows() {
        let numbers = vec![0.9, 0.2, -0.4, 0.8, 0.5, -0.6, -0.7, -0.1, 0.3, 0.31, 0.6, -0.7, -1.0, 0.1];
        let unit = unit_rows(Tensor::<1>::from_floats(numbers.as_slice(), &Device::flex()).reshape([7, 2]));
        let nearest = |cosines| nearest_others(unit.clone(), cosines).try_into_vec_as::<i64>().unwrap();
        let whole = nearest(49);

        for cosines in [0, 7, 14, 21, 35] {
            assert_eq!(nearest(cosines), whole, "with {cosines} cosines at a time");
        }
        assert!(whole.iter().enumerate().all(|(row, &other)| row as i64 != other), "{whole:?}");
    }
}
