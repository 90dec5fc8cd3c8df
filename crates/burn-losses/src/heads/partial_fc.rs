use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Bool, IndexingUpdateOp, Int, Tensor};
use burn_losses_kernels::logsumexp::Scale;

use super::{ClassCenters, ClassScores, MarginHead, OwnClass};
use crate::random::{Draws, Mixer, first_draw, next_draw};

/// Settings of [`PartialFc`].
#[derive(Config, Debug)]
pub struct PartialFcConfig {
    /// The share of the classes a batch is compared with, besides its own; in `(0, 1]`.
    #[config(default = 0.1)]
    pub sample_rate: f64,
    /// What the drawn classes follow from, together with the number of draws before.
    #[config(default = 0)]
    pub seed: u64,
}

impl PartialFcConfig {
    /// Wraps a head.
    ///
    /// # Panics
    ///
    /// If `sample_rate` is not in `(0, 1]`, or the head has more than 2^30 classes.
    pub fn init<H: MarginHead>(&self, head: H) -> PartialFc<H> {
        let Self { sample_rate, seed } = *self;
        assert!(sample_rate > 0.0 && sample_rate <= 1.0, "PartialFc: sample_rate must be in (0, 1], got {sample_rate}");
        let classes = head.centers().classes();
        assert!(classes <= 1 << 30, "PartialFc: classes must be <= 2^30, got {classes}");
        let draws = first_draw(seed, &head.centers().weight.lazy_device());

        PartialFc { head, sample_rate, draws }
    }
}

/// A head that compares a batch with a random sample of the classes: the batch's own, and a share of the others.
///
/// ```text
/// sample    = the classes of the batch, and round_up(sample_rate·classes) drawn ones
/// others[i] = log(sum over j in sample, j != labels[i], of exp(scale·<x[i], w[j]>))
/// ```
///
/// The margin and the loss are those of the head inside. With hundreds of thousands of classes a tenth of them trains as
/// well, in a tenth of the time. The gradient of a class that is not in the sample is 0; it is a dense gradient, so every
/// optimizer works, but one with momentum or weight decay moves such a class all the same.
///
/// The drawn classes are spread evenly: the classes, turned by a random offset, are cut into as many stretches as are
/// drawn, and one is drawn of each. Every class is drawn with the same probability. Which ones they are follows from
/// `seed` and the number of draws before, on every backend alike; both are state that is saved and loaded with the
/// module, and repeats after 2^24 draws. Nothing is read back from the device.
///
/// A head in evaluation (`valid()`) or one that is frozen draws nothing: its loss is that of all classes. Nor does one
/// whose sample would not be smaller than all classes, so a rate of 1 is the head itself. Clones share their draws.
///
/// # Source
///
/// An et al.: [Partial FC](https://arxiv.org/abs/2010.05222), 2020, section 3.3; and
/// [An et al. 2022](https://arxiv.org/abs/2203.15565).
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::{ArcFaceConfig, MarginHead, PartialFcConfig};
///
/// let device = Device::default().autodiff();
/// let full = ArcFaceConfig::new(1000, 4).with_scale(16.0).init(&device);
/// let head = PartialFcConfig::new().with_sample_rate(0.2).init(full);
/// let embeddings = Tensor::<2>::ones([3, 4], &device);
/// let gradients = head.forward(embeddings, Tensor::<1, Int>::from_ints([0, 9, 4], &device)).backward();
///
/// let gradient = head.centers().weight.val().grad(&gradients).unwrap();
/// let moved = gradient.abs().sum_dim(1).greater_scalar(0.0).int().sum().into_scalar::<i64>();
/// assert!((200..=203).contains(&moved));
/// ```
#[derive(Module, Debug)]
pub struct PartialFc<H> {
    /// The head.
    pub head: H,
    sample_rate: f64,
    draws: Draws,
}

impl<H: MarginHead> MarginHead for PartialFc<H> {
    fn centers(&self) -> &ClassCenters {
        self.head.centers()
    }

    /// The same head and settings with other centers; its draws go on from where they are, and are its own from here.
    fn with_centers(self, centers: ClassCenters) -> Self {
        Self { draws: centers.copy_of(&self.draws), head: self.head.with_centers(centers), ..self }
    }

    /// Shard 0 draws as the whole head would; the others have another seed.
    fn shard(self, centers: ClassCenters, number: usize) -> Self {
        let whole = self.with_centers(centers);
        let draws = whole.draws.copy_with(|draws| {
            let (seed, rest) = (draws.clone().narrow(0, 0, 1), draws.narrow(0, 1, 2));
            let seed = seed.add_scalar(number as i64).bitwise_and_scalar((1 << 24) - 1);
            Tensor::cat(alloc::vec![seed, rest], 0)
        });
        Self { draws, ..whole }
    }

    fn scale(&self) -> Scale {
        self.head.scale()
    }

    fn margin(&self, own: &OwnClass) -> Tensor<1> {
        self.head.margin(own)
    }

    fn penalty(&self, own: &OwnClass) -> Option<Tensor<1>> {
        self.head.penalty(own)
    }

    fn row_losses(&self, others: Tensor<1>, own: &OwnClass) -> Tensor<1> {
        self.head.row_losses(others, own)
    }

    fn refuses_shards(&self) -> Option<&'static str> {
        self.head.refuses_shards()
    }

    fn scores(&self, embeddings: Tensor<2>, index: Tensor<1, Int>) -> ClassScores {
        let centers = self.centers();
        let [batch, _] = embeddings.dims();
        let drawn = libm::ceil(self.sample_rate * centers.classes() as f64) as usize;
        let moves = self.draws.moves_on(&centers.weight.val().device());
        if drawn + batch >= centers.classes() || !moves {
            return self.head.scores(embeddings, index);
        }
        let sample = Sample::of(self.draw(drawn, &index), index, centers.classes());
        let weights = centers.weight.val().select(0, centers.rows_of(sample.classes));

        self.head.compare(embeddings, weights, sample.index, Some(sample.used))
    }

    fn compare(
        &self,
        embeddings: Tensor<2>,
        weights: Tensor<2>,
        index: Tensor<1, Int>,
        used: Option<Tensor<1, Int>>,
    ) -> ClassScores {
        self.head.compare(embeddings, weights, index, used)
    }
}

impl<H: MarginHead> PartialFc<H> {
    /// Draws classes, and counts it.
    fn draw(&self, count: usize, index: &Tensor<1, Int>) -> Drawn {
        let mixer = next_draw(&self.draws, &index.device().inner(), index.dtype());

        Drawn::new(&mixer, count, self.centers().classes())
    }
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
struct Sample {
    /// Which class each one is of.
    classes: Tensor<1, Int>,
    /// Which of them is the own one of a row; -1 if the row has no class.
    index: Tensor<1, Int>,
    /// Negative for those that are there a second time.
    used: Tensor<1, Int>,
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

        // Of several rows of a class one brings its center: the last to write its number. Rows without a class write
        // behind the classes.
        let rows = Tensor::<1, Int>::arange(0..batch as i64, options);
        let slot = class.clone().mask_fill(has_none.clone(), classes as i64);
        let bringer = Tensor::<1, Int>::zeros([classes + 1], options)
            .select_assign(0, slot.clone(), rows.clone(), IndexingUpdateOp::Assign)
            .select(0, slot);
        let brings =
            bringer.clone().equal(rows).bool_and(is_drawn.clone().bool_not()).bool_and(has_none.clone().bool_not());

        let own = bringer.add_scalar(count as i64).mask_where(is_drawn, stretch).mask_fill(has_none, -1);
        let unused = Tensor::<1, Int>::zeros([batch], options).mask_fill(brings.bool_not(), -1);
        let used = Tensor::cat(alloc::vec![Tensor::<1, Int>::zeros([count], options), unused], 0);

        Self { classes: Tensor::cat(alloc::vec![drawn.classes, class], 0), index: own, used }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            let own = sample.index.try_into_vec_as::<i64>().unwrap();

            for (&label, &own) in labels.iter().zip(&own) {
                if (0..classes as i64).contains(&label) {
                    assert_eq!(members[own as usize], label);
                    assert!(used[own as usize] >= 0);
                } else {
                    assert_eq!(own, -1);
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
    #[should_panic(expected = "PartialFc: sample_rate must be in (0, 1], got 10")]
    fn a_rate_in_percent_is_rejected() {
        let head = super::super::NormFaceConfig::new(2, 2).init(&Device::flex());
        PartialFcConfig::new().with_sample_rate(10.0).init(head);
    }
}
