use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Int, Tensor};
use burn_losses_kernels::logsumexp::{Scale, Streaming};
use burn_losses_kernels::math::{cast_to, softplus};
use burn_losses_kernels::rivals::{Comparison, Curve, Rivals, rival_scores};

use super::head::{check_margin, check_scale};
use super::{ClassCenters, ClassScores, MarginHead, OwnClass};
use crate::labels::LabelPolicy;

/// Settings of [`UniFace`].
#[derive(Config, Debug)]
pub struct UniFaceConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What is taken off the cosine with the own class; in `[-1000, 1000]`.
    #[config(default = 0.4)]
    pub margin: f64,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`.
    #[config(default = 64.0)]
    pub scale: f64,
    /// What the sum over the other classes is multiplied with; in `[0, 1e6]`.
    #[config(default = 1.0)]
    pub balance: f64,
    /// How the class centers start.
    #[config(default = "Initializer::Normal { mean: 0.0, std: 0.01 }")]
    pub initializer: Initializer,
    /// Which labels are ignored, and whether bad ones panic.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
    /// How many classes are compared with at once.
    #[config(default = "Streaming::new()")]
    pub streaming: Streaming,
}

impl UniFaceConfig {
    /// Builds the head with random class centers on `device`. The bias starts at `ln(10·classes)`, as the authors' does.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> UniFace {
        let Self { classes, margin, scale, balance, .. } = *self;
        check_margin("UniFace", "margin", margin);
        check_scale("UniFace", scale);
        assert!((0.0..=1e6).contains(&balance), "UniFace: balance must be in [0, 1e6], got {balance}");
        let size = [classes, self.embedding_dim];

        UniFace {
            centers: ClassCenters::new("UniFace", size, &self.initializer, &self.labels, device)
                .with_streaming(self.streaming),
            bias: Initializer::Constant { value: libm::log(10.0 * classes as f64) }.init([1], device),
            margin,
            scale,
            balance,
        }
    }
}

/// One threshold for all: the own cosine of every sample must be above it, all others below, whichever sample they are of.
///
/// ```text
/// loss[i] = softplus(-(scale·(own_cosine[i] - margin) - bias))
///         + balance·sum over j != labels[i] of softplus(scale·cosine[i, j] - bias)
/// ```
///
/// The `bias` is trained with the centers: `bias / scale` is the threshold between the same and another person. As a
/// verification does, and a softmax does not, this compares all pairs with one number. See
/// [`MarginHead`] for what is around it. Public code clamps the exponents, which stops the gradient of what is most wrong;
/// here it goes on.
///
/// # Source
///
/// Zhou, Jia, Li, Shen, Duan: [UniFace: Unified Cross-Entropy Loss for Deep Face
/// Recognition](https://openaccess.thecvf.com/content/ICCV2023/papers/Zhou_UniFace_Unified_Cross-Entropy_Loss_for_Deep_Face_Recognition_ICCV_2023_paper.pdf),
/// 2023, section 3.
#[derive(Module, Debug)]
pub struct UniFace {
    /// The trained class centers.
    pub centers: ClassCenters,
    /// The trained threshold, times the scale, `[1]`.
    pub bias: Param<Tensor<1>>,
    margin: f64,
    scale: f64,
    balance: f64,
}

impl MarginHead for UniFace {
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

    fn row_losses(&self, others: Tensor<1>, own: &OwnClass) -> Tensor<1> {
        let [batch] = others.dims();
        let bias = cast_to(self.bias.val(), others.dtype()).expand([batch]);
        softplus(bias - self.margin(own).mul_scalar(self.scale)) + others.mul_scalar(self.balance)
    }

    fn refuses_shards(&self) -> Option<&'static str> {
        Some("UniFace has one bias for all classes, and adds what they weigh; shards would train one each")
    }

    fn compare(
        &self,
        embeddings: Tensor<2>,
        weights: Tensor<2>,
        index: Tensor<1, Int>,
        used: Option<Tensor<1, Int>>,
    ) -> ClassScores {
        let rivals = Rivals::Softplus { bias: self.bias.val(), curve: Curve { exponent: 1.0, detached: false } };
        let comparison = Comparison { rivals, ..Comparison::default() };
        let streaming = self.centers.streaming;
        ClassScores::new(rival_scores(embeddings, weights, index, used, comparison, self.scale, streaming))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_threshold_is_asked_of_every_class() {
        let device = Device::flex();
        let mut head = UniFaceConfig::new(2, 2).with_scale(2.0).with_margin(0.1).with_balance(3.0).init(&device);
        assert!((head.bias.val().into_scalar::<f32>() - 20.0_f32.ln()).abs() < 1e-6);
        head.bias = Param::from_tensor(Tensor::from_data([0.7_f32], &device));
        head.centers.weight = Param::from_tensor(Tensor::from_data([[2.0_f32, 0.0], [0.0, 1.0]], &device));
        let embedding = Tensor::<2>::from_data([[3.0_f32, 4.0]], &device);
        let loss = head.forward(embedding, Tensor::from_data([0], &device)).into_scalar::<f32>();

        // By hand: softplus(0.7 - 2·(0.6 - 0.1)) + 3·softplus(2·0.8 - 0.7).
        let expected = (-0.3_f32).exp().ln_1p() + 3.0 * 0.9_f32.exp().ln_1p();
        assert!((loss - expected).abs() < 1e-5, "{loss} is not {expected}");
    }

    #[test]
    #[should_panic(expected = "UniFace: balance must be in [0, 1e6], got -1")]
    fn a_negative_balance_is_rejected() {
        UniFaceConfig::new(2, 2).with_balance(-1.0).init(&Device::flex());
    }
}
