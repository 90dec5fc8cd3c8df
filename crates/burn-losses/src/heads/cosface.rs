use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::logsumexp::{Scale, Streaming};

use super::head::{check_margin, check_scale};
use super::{ClassCenters, MarginHead, OwnClass};
use crate::labels::LabelPolicy;

/// Settings of [`CosFace`].
#[derive(Config, Debug)]
pub struct CosFaceConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What is taken off the own cosine; in `[-1000, 1000]`. The paper uses 0.35, InsightFace 0.4; negative margins
    /// help when the classes to tell apart later are not those trained on.
    #[config(default = 0.35)]
    pub margin: f64,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`. 64 is for tens of thousands of classes; use 16 to 32 for
    /// hundreds.
    #[config(default = 64.0)]
    pub scale: f64,
    /// How the class centers start.
    #[config(default = "Initializer::Normal { mean: 0.0, std: 0.01 }")]
    pub initializer: Initializer,
    /// Which labels are ignored, and whether bad ones panic.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
    /// How the comparison with all classes trades memory for time.
    #[config(default = "Streaming::new()")]
    pub streaming: Streaming,
}

impl CosFaceConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> CosFace {
        let (margin, scale) = (self.margin, self.scale);
        check_margin("CosFace", "margin", margin);
        check_scale("CosFace", scale);
        let size = [self.classes, self.embedding_dim];

        CosFace {
            centers: ClassCenters::new("CosFace", size, &self.initializer, &self.labels, device)
                .with_streaming(self.streaming),
            margin,
            scale,
        }
    }
}

/// Large margin cosine loss: the own cosine must win by a margin.
///
/// ```text
/// margin(cosine) = cosine - margin
/// ```
///
/// Simple and robust; the margin has slope 1, so the exact and the detached gradient are the same. See [`MarginHead`]
/// for the loss.
///
/// # Source
///
/// Wang et al.: [CosFace](https://arxiv.org/abs/1801.09414), 2018, section 3.1, equation 4; the same as AM-Softmax,
/// [Wang et al. 2018](https://arxiv.org/abs/1801.05599).
#[derive(Module, Debug)]
pub struct CosFace {
    /// The trained class centers.
    pub centers: ClassCenters,
    margin: f64,
    scale: f64,
}

impl MarginHead for CosFace {
    fn centers(&self) -> &ClassCenters {
        &self.centers
    }

    fn with_centers(self, centers: ClassCenters) -> Self {
        Self { centers, ..self }
    }

    fn scale(&self) -> Scale {
        self.scale.into()
    }

    fn margin(&self, own: &OwnClass) -> Tensor<1> {
        own.cosine.clone().sub_scalar(self.margin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;
    use burn::tensor::Int;

    #[test]
    fn the_margin_comes_off_the_own_cosine() {
        let device = Device::flex();
        let mut head = CosFaceConfig::new(2, 2).with_margin(0.5).with_scale(2.0).init(&device);
        head.centers.weight = Param::from_tensor(Tensor::from_data([[1.0_f32, 0.0], [0.0, 1.0]], &device));

        let embeddings = Tensor::from_data([[0.6_f32, 0.8]], &device);
        let labels = Tensor::<1, Int>::from_ints([0], &device);
        let logits = head.margin_logits(embeddings, labels).try_into_vec_as::<f32>().unwrap();

        // By hand: 2·(0.6 - 0.5) and 2·0.8.
        assert!((logits[0] - 0.2).abs() < 1e-6 && (logits[1] - 1.6).abs() < 1e-6, "{logits:?}");
    }

    #[test]
    #[should_panic(expected = "CosFace: margin must be in [-1000, 1000], got inf")]
    fn an_infinite_margin_is_rejected() {
        CosFaceConfig::new(2, 2).with_margin(f64::INFINITY).init(&Device::flex());
    }
}
