//! A random sample of the classes for every batch.

use burn::tensor::{Bool, DType, Device, IndexingUpdateOp, Int, Tensor};
use burn_losses_kernels::math::NOTHING;

use crate::identities::one_of_each;
use crate::random::{Draws, Mixer, next_draw};

/// Draws the classes that a batch on `device` is compared with, and counts it; `None` where that is all of them.
///
/// # Shapes
///
/// - index: `[batch]`; where it is not in `0..classes`, the row has no class here
pub(crate) fn draw(
    draws: &Draws,
    device: &Device,
    sample_rate: f64,
    classes: usize,
    index: &Tensor<1, Int>,
) -> Option<Sample> {
    let [batch] = index.dims();
    let drawn = libm::ceil(sample_rate * classes as f64) as usize;
    if drawn + batch >= classes || !draws.moves_on(device) {
        return None;
    }
    let mixer = next_draw(draws, &index.device().inner(), index.dtype());
    Some(Sample::of(Drawn::new(&mixer, drawn, classes), index.clone(), classes))
}

/// Classes drawn without repetition: one of each of `count` stretches of the classes, all turned by one offset. The
/// stretches are `short` long, the first `longer` of them one more.
struct Drawn {
    classes: Tensor<1, Int>,
    offset: Tensor<1, Int>,
    short: i64,
    longer: i64,
}

impl Drawn {
    fn new(mixer: &Mixer, count: usize, classes: usize) -> Self {
        let stretches = Tensor::<1, Int>::arange(0..count as i64, (&mixer.device(), mixer.dtype()));
        Self::by(mixer.salt(), mixer.mix(stretches), classes)
    }

    /// By random numbers: one for the offset, `[1]`, and one for every stretch.
    fn by(offset: Tensor<1, Int>, numbers: Tensor<1, Int>, classes: usize) -> Self {
        let [count] = numbers.dims();
        let (short, longer) = ((classes / count) as i64, (classes % count) as i64);
        let stretches = Tensor::<1, Int>::arange(0..count as i64, (&numbers.device(), numbers.dtype()));
        let offset = offset.remainder_scalar(classes as i64);
        let is_longer = stretches.clone().lower_scalar(longer);
        let starts = stretches.clone().mul_scalar(short) + stretches.clone().clamp_max(longer);
        let lengths = is_longer.int().cast(numbers.dtype()).add_scalar(short);
        let places = starts + numbers.remainder(lengths);
        let classes = (places + offset.clone().expand([count])).remainder_scalar(classes as i64);

        Self { classes, offset, short, longer }
    }

    /// The stretch a class is in.
    fn stretch_of(&self, class: Tensor<1, Int>, classes: usize) -> Tensor<1, Int> {
        let [batch] = class.dims();
        let place = (class - self.offset.clone().expand([batch])).add_scalar(classes as i64);
        let place = place.remainder_scalar(classes as i64);
        let end_of_longer = self.longer * (self.short + 1);
        let among_longer = place.clone().div_scalar(self.short + 1);
        let after = place.clone().sub_scalar(end_of_longer).clamp_min(0).div_scalar(self.short);

        after.add_scalar(self.longer).mask_where(place.lower_scalar(end_of_longer), among_longer)
    }
}

/// The rows of classes a batch is compared with: those drawn, then one per row of the batch.
pub(crate) struct Sample {
    /// Which class each one is of.
    pub(crate) classes: Tensor<1, Int>,
    /// Which of them is the target of a row; -1 if the row has no class.
    pub(crate) index: Tensor<1, Int>,
    /// Negative for those that are there a second time.
    pub(crate) used: Tensor<1, Int>,
    /// How many were drawn, and of how many.
    share: [usize; 2],
}

impl Sample {
    fn of(drawn: Drawn, index: Tensor<1, Int>, classes: usize) -> Self {
        let ([batch], [count], dtype) = (index.dims(), drawn.classes.dims(), index.dtype());
        let options = (&index.device().inner(), dtype);
        // Which class a row is of is nothing to differentiate, and operations on integers want one device.
        let index = index.to_device(options.0);
        let has_none: Tensor<1, Bool> =
            index.clone().lower_scalar(0).bool_or(index.clone().greater_equal_scalar(classes as i64));
        let class = index.mask_fill(has_none.clone(), 0);

        let stretch = drawn.stretch_of(class.clone(), classes);
        let is_drawn = drawn.classes.clone().select(0, stretch.clone()).equal(class.clone());

        // Of several rows of a class one brings it. Rows without a class are one more.
        let rows = Tensor::<1, Int>::arange(0..batch as i64, options);
        let bringer = one_of_each(class.clone().mask_fill(has_none.clone(), classes as i64), classes + 1);
        let brings =
            bringer.clone().equal(rows).bool_and(is_drawn.clone().bool_not()).bool_and(has_none.clone().bool_not());

        let target = bringer.add_scalar(count as i64).mask_where(is_drawn, stretch).mask_fill(has_none, -1);
        let unused = Tensor::<1, Int>::zeros([batch], options).mask_fill(brings.bool_not(), -1);
        let used = Tensor::cat(alloc::vec![Tensor::<1, Int>::zeros([count], options), unused], 0);

        Self {
            classes: Tensor::cat(alloc::vec![drawn.classes, class], 0),
            index: target,
            used,
            share: [count, classes],
        }
    }

    /// What is added to the logits of the sample, so that a sum of their exponentials is that of all classes in the mean over
    /// all draws: minus the logarithm of how often a class is expected in it. A class of the batch is there in any case.
    pub(crate) fn correction(&self, dtype: DType) -> Tensor<1> {
        let ([rows], [batch], [count, classes]) = (self.classes.dims(), self.index.dims(), self.share);
        let device = self.classes.device();
        // Rows without a class have a place of their own.
        let places = self.index.clone().mask_fill(self.index.clone().lower_scalar(0), rows as i64);
        let ones = Tensor::<1>::ones([batch], &device);
        let times = Tensor::<1>::zeros([rows + 1], &device).select_assign(0, places, ones, IndexingUpdateOp::Add);
        let is_of_batch = times.narrow(0, 0, rows).greater_scalar(0.0);
        let correction = Tensor::<1>::full([rows], libm::log(classes as f64 / count as f64), (&device, dtype));
        let correction = correction.mask_fill(is_of_batch, 0.0);
        correction.mask_fill(self.used.clone().lower_scalar(0), NOTHING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::first_draw;
    use alloc::vec;
    use alloc::vec::Vec;

    fn drawn(draws: usize, count: usize, classes: usize) -> Vec<Vec<i64>> {
        let device = Device::flex();
        let seed = first_draw(7, &device).value().try_into_vec_as::<i32>().unwrap();
        let number = |number: i32| Tensor::<1, Int>::from_data([number], (&device, DType::I32));
        (0..draws)
            .map(|draw| {
                let mixer = Mixer::new([number(seed[0]), number(seed[1]), number(draw as i32)]);
                Drawn::new(&mixer, count, classes).classes.try_into_vec_as::<i64>().unwrap()
            })
            .collect()
    }

    #[test]
    fn no_class_is_drawn_twice_and_all_as_often() {
        let (draws, count, classes) = (3000, 7, 50);
        let mut times = vec![0_u32; classes];
        let mut together = vec![0_u32; classes * classes];
        for sample in drawn(draws, count, classes) {
            let mut seen = vec![false; classes];
            for &class in &sample {
                assert!(!core::mem::replace(&mut seen[class as usize], true), "{sample:?}");
                times[class as usize] += 1;
            }
            for &a in &sample {
                for &b in &sample {
                    together[a as usize * classes + b as usize] += 1;
                }
            }
        }
        // Each class is drawn in 3000·7/50 = 420 of the draws; the standard deviation of independent draws is 19.
        let expected = (draws * count) as f64 / classes as f64;
        let chi_square: f64 = times.iter().map(|&times| (f64::from(times) - expected).powi(2) / expected).sum();
        // 49 degrees of freedom: mean 49, and 100 is exceeded once in 50 000 times.
        assert!(chi_square < 100.0, "{chi_square}: {times:?}");
        // Classes far apart meet as often as independent ones: 3000·(7/50)², with a standard deviation of 7.6.
        for class in 0..classes {
            let far = (class + classes / 2) % classes;
            let met = f64::from(together[class * classes + far]);
            assert!((met - 58.8).abs() < 40.0, "{class} and {far} met {met} times");
        }
    }

    #[test]
    fn a_sample_holds_every_class_of_the_batch_once_and_knows_where() {
        let device = Device::flex();
        let (classes, labels) = (23, [5_i64, 22, 5, -1, 0, 23, 22]);
        for draw in 0..40 {
            let number = |number: i32| Tensor::<1, Int>::from_data([number], (&device, DType::I32));
            let drawn = Drawn::new(&Mixer::new([number(1), number(2), number(draw)]), 5, classes);
            let index = Tensor::<1, Int>::from_data(labels, (&device, DType::I32));
            let sample = Sample::of(drawn, index, classes);
            let members = sample.classes.try_into_vec_as::<i64>().unwrap();
            let used = sample.used.try_into_vec_as::<i64>().unwrap();
            let targets = sample.index.try_into_vec_as::<i64>().unwrap();

            for (&label, &target) in labels.iter().zip(&targets) {
                if (0..classes as i64).contains(&label) {
                    assert_eq!(members[target as usize], label);
                    assert!(used[target as usize] >= 0);
                } else {
                    assert_eq!(target, -1);
                }
            }
            let mut counted: Vec<i64> =
                members.iter().zip(&used).filter(|&(_, &used)| used >= 0).map(|(&class, _)| class).collect();
            counted.sort_unstable();
            let length = counted.len();
            counted.dedup();
            assert_eq!(counted.len(), length, "a class counts twice");
            assert!((5..=8).contains(&length));
        }
    }

    /// Over all draws of 3 of 7 classes, each as likely as any other: 7 offsets, and a place in stretches of 3, 2 and 2.
    #[test]
    fn the_mean_over_all_draws_of_corrected_exponentials_is_the_sum_over_all_classes() {
        let (classes, labels) = (7, [4_i64, -1, 2, 4]);
        let options = (&Device::flex(), DType::I64);
        let logit = |row: usize, class: usize| ((row * 13 + class * 29) as f64 * 0.618).sin() * 3.0;
        let (mut sums, mut draws) = ([0.0; 4], 0.0);
        for number in 0..7 * 12 {
            let offset = Tensor::<1, Int>::from_data([number / 12], options);
            let numbers = Tensor::<1, Int>::from_data([number % 12 / 4, number % 4 / 2, number % 2], options);
            let sample = Sample::of(Drawn::by(offset, numbers, classes), Tensor::from_data(labels, options), classes);
            let correction = sample.correction(DType::F64).try_into_vec_as::<f64>().unwrap();
            let members = sample.classes.try_into_vec_as::<i64>().unwrap();
            for (row, sum) in sums.iter_mut().enumerate() {
                let members = members.iter().zip(&correction);
                *sum += members.map(|(&class, add)| (logit(row, class as usize) + add).exp()).sum::<f64>();
            }
            draws += 1.0;
        }
        for (row, sum) in sums.into_iter().enumerate() {
            let all: f64 = (0..classes).map(|class| logit(row, class).exp()).sum();
            assert!((sum / draws / all - 1.0).abs() < 1e-12, "row {row}: {} is not {all}", sum / draws);
        }
    }

    #[test]
    fn a_sample_of_all_classes_corrects_nothing() {
        let options = (&Device::flex(), DType::I64);
        let (offset, numbers) = (Tensor::<1, Int>::from_data([2], options), Tensor::zeros([5], options));
        let sample = Sample::of(Drawn::by(offset, numbers, 5), Tensor::from_data([3_i64, 3], options), 5);
        let correction = sample.correction(DType::F64).try_into_vec_as::<f64>().unwrap();
        assert_eq!(correction, [0.0, 0.0, 0.0, 0.0, 0.0, NOTHING, NOTHING]);
    }
}
