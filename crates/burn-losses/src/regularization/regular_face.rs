use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor};
use burn_losses_kernels::math::{cast_to, unit_rows, widen};

use super::empty::losses_of_nothing;
use crate::heads::ClassRows;
use crate::reduction::EmbeddingReduction;

/// How many cosines exist at a time, if a class has no more of them than that: 64 MiB.
const COSINES: usize = 1 << 24;

/// Settings of [`RegularFaceRegularizer`].
#[derive(Config, Debug)]
pub struct RegularFaceRegularizerConfig {
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl RegularFaceRegularizerConfig {
    /// Builds the loss.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> RegularFaceRegularizer {
        RegularFaceRegularizer { reduction: self.reduction }
    }
}

/// Pushes every class weight away from the nearest one of another class.
///
/// ```text
/// loss[j] = max over i of another class of cosine(weights[j], weights[i])
/// ```
///
/// Beside the loss of a margin head, for classes that are spread evenly; of the head it takes `&head.centers`, which knows
/// where a class has several. Of a linear layer it takes the rows, one per class.
/// The nearest class is found block by block and without gradients, so no more than 16 million cosines exist at a time, or
/// those of one class; the gradient flows through the cosine with that class only. A single class has loss 0, and the
/// cosine with a zero row is 0.
///
/// # When to take it
///
/// On the centers of a head, to spread them. Its time grows with the square of the classes, that of the head with
/// classes times rows of the batch: with very many classes rely on the margin of the head alone.
///
/// # Source
///
/// Zhao, Xu, Cheng: [RegularFace](https://openaccess.thecvf.com/content_CVPR_2019/html/Zhao_RegularFace_Deep_Face_Recognition_via_Exclusive_Regularization_CVPR_2019_paper.html),
/// 2019, section 3.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regularization::RegularFaceRegularizerConfig;
///
/// let device = Device::default();
/// let centers = Tensor::<2>::from_data([[1.0, 0.0], [3.0, 4.0]], &device);
/// let loss = RegularFaceRegularizerConfig::new().init(&device).forward(centers);
/// // The cosine of each with its nearest.
/// assert!((loss.into_scalar::<f32>() - 0.6).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct RegularFaceRegularizer {
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl RegularFaceRegularizer {
    /// One value for all classes; see [`forward_no_reduction`](Self::forward_no_reduction).
    pub fn forward(&self, weights: impl Into<ClassRows>) -> Tensor<1> {
        self.reduction.apply(self.forward_no_reduction(weights))
    }

    /// One value per class weight.
    ///
    /// # Shapes
    ///
    /// - weights: `[classes·sub_centers, embedding_dim]`
    /// - output: `[classes·sub_centers]`
    pub fn forward_no_reduction(&self, weights: impl Into<ClassRows>) -> Tensor<1> {
        let ClassRows { rows: weights, sub_centers } = weights.into();
        let [count, dim] = weights.dims();
        if let Some(nothing) = losses_of_nothing(&weights) {
            return nothing;
        }
        let dtype = weights.dtype();
        let unit = unit_rows(widen(weights));
        let cosines = if count == sub_centers {
            let all = Tensor::<2, Bool>::full([count, dim], true, &unit.device());
            unit.mask_fill(all, 0.0).sum_dim(1)
        } else {
            let nearest = nearest_negatives(unit.clone().detach(), sub_centers, COSINES);
            (unit.clone() * unit.select(0, nearest)).sum_dim(1)
        };
        cast_to(cosines.squeeze_dim(1), dtype)
    }
}

/// The row of another class with the largest cosine, for every row; at most `cosines` of them are held at a time.
fn nearest_negatives(unit: Tensor<2>, sub_centers: usize, cosines: usize) -> Tensor<1, Int> {
    let [count, _] = unit.dims();
    let block = (cosines / count).clamp(1, count);
    let nearest = |start: usize| {
        let rows = unit.clone().narrow(0, start, block.min(count - start));
        let size = [rows.dims()[0], count];
        let same = same_class(start, size, sub_centers, &unit);
        let negatives = rows.matmul(unit.clone().transpose()).mask_fill(same, -2.0);
        negatives.argmax(1).squeeze_dim::<1>(1)
    };
    let blocks: Vec<_> = (0..count).step_by(block).map(nearest).collect();

    Tensor::cat(blocks, 0)
}

/// Where a row of the block that begins at `start` meets one of its class.
fn same_class(start: usize, size: [usize; 2], sub_centers: usize, unit: &Tensor<2>) -> Tensor<2, Bool> {
    let classes = |start: usize, count: usize| {
        let rows = Tensor::<1, Int>::arange(start as i64..(start + count) as i64, &unit.device());
        if sub_centers == 1 { rows } else { rows.div_scalar(sub_centers as i64) }
    };
    let rows = classes(start, size[0]).unsqueeze_dim::<2>(1).expand(size);
    rows.equal(classes(0, size[1]).unsqueeze_dim::<2>(0).expand(size))
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
    fn centers_of_one_class_do_not_push_each_other_away() {
        let weights = [[2.0_f32, 0.0], [3.0, 0.1], [0.3, 0.4], [0.0, 5.0]];
        let rows = Tensor::<2>::from_data(weights, &Device::flex());
        let loss =
            RegularFaceRegularizerConfig::new().init(&Device::flex()).forward_no_reduction(ClassRows::new(rows, 2));
        let loss = loss.try_into_vec_as::<f32>().unwrap();

        // By hand; the first two are of one class, and so are the last two.
        let second = (3.0 * 0.6 + 0.1 * 0.8) / (9.01_f32).sqrt();
        for (value, expected) in loss.into_iter().zip([0.6, second, second, 0.1 / 9.01_f32.sqrt()]) {
            assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
        }
    }

    #[test]
    fn blocks_of_any_size_find_the_same_rows() {
        let numbers = vec![0.9, 0.2, -0.4, 0.8, 0.5, -0.6, -0.7, -0.1, 0.3, 0.31, 0.6, -0.7, -1.0, 0.1];
        let unit = unit_rows(Tensor::<1>::from_floats(numbers.as_slice(), &Device::flex()).reshape([7, 2]));
        let nearest = |cosines| nearest_negatives(unit.clone(), 1, cosines).try_into_vec_as::<i64>().unwrap();
        let whole = nearest(49);

        for cosines in [0, 7, 14, 21, 35] {
            assert_eq!(nearest(cosines), whole, "with {cosines} cosines at a time");
        }
        assert!(whole.iter().enumerate().all(|(row, &other)| row as i64 != other), "{whole:?}");
    }
}
