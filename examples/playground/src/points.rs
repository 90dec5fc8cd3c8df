use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;

/// How many classes the samples have.
pub const CLASSES: usize = 8;
/// How many numbers a sample has.
pub const FEATURES: usize = 16;

/// Samples around one place per class; the classes take turns.
#[derive(Clone, Debug)]
pub struct Points {
    /// `[samples, FEATURES]`, row after row.
    pub inputs: Vec<f32>,
    /// Of every sample.
    pub classes: Vec<usize>,
}

impl Points {
    /// Draws `samples` of them: the places with a standard deviation of 1, the samples with one of `noise` around theirs.
    /// The same seed gives the same samples on every machine.
    pub fn new(samples: usize, noise: f32, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut normal = |deviation: f32| deviation * random.sample::<f32, _>(StandardNormal);
        let places: Vec<f32> = (0..CLASSES * FEATURES).map(|_| normal(1.0)).collect();
        let classes: Vec<usize> = (0..samples).map(|sample| sample % CLASSES).collect();
        let inputs = classes
            .iter()
            .flat_map(|class| &places[class * FEATURES..][..FEATURES])
            .map(|place| place + normal(noise))
            .collect();
        Self { inputs, classes }
    }
}
