//! A random sample of the classes for every batch.

use burn::tensor::{Bool, Device, Int, Tensor};

use super::ClassCenters;
use crate::identities::one_of_each;
use crate::random::{Draws, Mixer, next_draw};

/// The draws of a shard, from where those of the whole are: shard 0 draws as that would, the others have another seed.
pub(super) fn draws_of_shard(draws: &Draws, number: usize, device: &Device) -> Draws {
    draws.copy_with(|draws| {
        let draws = draws.to_device(device);
        let (seed, rest) = (draws.clone().narrow(0, 0, 1), draws.narrow(0, 1, 2));
        let seed = seed.add_scalar(number as i64).bitwise_and_scalar((1 << 24) - 1);
        Tensor::cat(alloc::vec![seed, rest], 0)
    })
}

/// Draws the classes that a batch is compared with, and counts it; `None` where that is all of them.
///
/// # Shapes
///
/// - index: `[batch]`; where it is not in `0..classes`, the row has no class here
pub(super) fn sample_of(centers: &ClassCenters, index: &Tensor<1, Int>) -> Option<Sample> {
    let draws = centers.draws.as_ref()?;
    let ([batch], classes) = (index.dims(), centers.classes());
    let drawn = libm::ceil(centers.sample_rate() * classes as f64) as usize;
    if drawn + batch >= classes || !draws.moves_on(&centers.weight.val().device()) {
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
        let (short, longer) = ((classes / count) as i64, (classes % count) as i64);
        let stretches = Tensor::<1, Int>::arange(0..count as i64, (&mixer.device(), mixer.dtype()));
        let offset = mixer.salt().remainder_scalar(classes as i64);
        let is_longer = stretches.clone().lower_scalar(longer);
        let starts = stretches.clone().mul_scalar(short) + stretches.clone().clamp_max(longer);
        let lengths = is_longer.int().cast(mixer.dtype()).add_scalar(short);
        let places = starts + mixer.mix(stretches).remainder(lengths);
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

/// The rows of the centers a batch is compared with: those drawn, then one per row of the batch.
pub(super) struct Sample {
    /// Which class each one is of.
    pub(super) classes: Tensor<1, Int>,
    /// Which of them is the target of a row; -1 if the row has no class.
    pub(super) index: Tensor<1, Int>,
    /// Negative for those that are there a second time.
    pub(super) used: Tensor<1, Int>,
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

        // Of several rows of a class one brings its center. Rows without a class are one more.
        let rows = Tensor::<1, Int>::arange(0..batch as i64, options);
        let bringer = one_of_each(class.clone().mask_fill(has_none.clone(), classes as i64), classes + 1);
        let brings =
            bringer.clone().equal(rows).bool_and(is_drawn.clone().bool_not()).bool_and(has_none.clone().bool_not());

        let target = bringer.add_scalar(count as i64).mask_where(is_drawn, stretch).mask_fill(has_none, -1);
        let unused = Tensor::<1, Int>::zeros([batch], options).mask_fill(brings.bool_not(), -1);
        let used = Tensor::cat(alloc::vec![Tensor::<1, Int>::zeros([count], options), unused], 0);

        Self { classes: Tensor::cat(alloc::vec![drawn.classes, class], 0), index: target, used }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::first_draw;
    use alloc::vec;
    use alloc::vec::Vec;
    use burn::tensor::{DType, Device};

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

    #[test]
    #[should_panic(expected = "NormFace: sample_rate must be in (0, 1], got 10")]
    fn a_rate_in_percent_is_rejected() {
        let centers = crate::heads::CentersConfig::new().with_sample_rate(10.0);
        crate::heads::NormFaceConfig::new(2, 2).with_centers(centers).init(&Device::flex());
    }
}
