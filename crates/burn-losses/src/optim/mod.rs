//! Optimizers of rows: steps that cost what a batch drew, not what there is.
//!
//! A head with a [sample of the classes](crate::heads::ClassCenters), or a center loss with trained centers, looks at few
//! of its rows in a batch. The gradient that Burn makes of that is as large as all of them and 0 nearly everywhere, and an
//! optimizer walks all of it: with a million classes that is most of a step. With [`RowGradient::Drawn`] the gradient holds
//! the drawn rows and where they belong, and `RowSgd` or `RowAdamW` (feature `optim`) change these rows in place.
//!
//! They take dense gradients too, of parameters of any rank, and in host memory change these in place as well: such a step is one
//! pass. So they can be the optimizers of a whole model.
//!
//! They are ordinary optimizers of Burn: give them the group of the centers, and everything else to another one. State is
//! saved and loaded with that of the others.
//!
//! ```
//! # #[cfg(feature = "optim")] {
//! use burn::module::{Module, ParamGroup};
//! use burn::nn::{Linear, LinearConfig};
//! use burn::optim::{AdamWConfig, GradientsParams};
//! use burn::tensor::{Device, Int, Tensor};
//! use burn_losses::heads::{ArcFace, ArcFaceConfig, CentersConfig};
//! use burn_losses::optim::{RowGradient, RowSgdConfig};
//!
//! #[derive(Module, Debug)]
//! struct Model {
//!     trunk: Linear,
//!     head: ArcFace,
//! }
//!
//! let device = Device::default().autodiff();
//! let centers = CentersConfig::new().with_sample_rate(0.1).with_gradient(RowGradient::Drawn);
//! let mut model = Model {
//!     trunk: LinearConfig::new(8, 4).init(&device),
//!     head: ArcFaceConfig::new(1000, 4).with_centers(centers).init(&device),
//! };
//! let of_centers = ParamGroup::from_predicate("head.centers.weight");
//! let mut optimizer = AdamWConfig::new().init().with_group(of_centers, RowSgdConfig::new().build(), None);
//!
//! let labels = Tensor::<1, Int>::from_ints([0, 999, 4], &device);
//! let loss = model.head.forward(model.trunk.forward(Tensor::ones([3, 8], &device)), labels);
//! let gradients = GradientsParams::from_grads(loss.backward(), &model);
//! let before = model.head.centers.weight.val();
//! model = optimizer.step(0.1, model, gradients);
//!
//! // A hundred classes are drawn beside those of the labels. All others stay where they are.
//! let change = (model.head.centers.weight.val() - before).abs().sum_dim(1);
//! let moved = change.greater_scalar(0.0).int().sum().into_scalar::<i64>();
//! assert!((1..=103).contains(&moved), "{moved}");
//! # }
//! ```
//!
//! # What a packed gradient is not
//!
//! It is `[drawn, dim + 6]`, so other optimizers panic, and it is the gradient of one batch: gradients of several cannot be
//! added (Burn's `GradientsAccumulator`, or two losses of one head in one backward; [`mean_of_drawn_rows`] does it), nor clipped or scaled (but by a value of at least 1, above
//! which nothing beside the gradients is). The optimizers
//! here see that and panic, or, on a GPU, where looking would wait, fill the rows with NaN. No other term of the loss may
//! have a gradient in the same rows, such as a [penalty on parameters](crate::regularization): decay is a setting of the
//! optimizers.
//!
//! Rows are changed in place if nothing else holds the parameter. Burn's `Learner` holds a clone of the model during the
//! step, so training by `SupervisedTraining` copies the rows of all classes once in a step; a loop of your own does not.

#[cfg(feature = "optim")]
mod as_rows;
#[cfg(feature = "optim")]
mod record;
#[cfg(feature = "optim")]
mod row_adamw;
#[cfg(feature = "optim")]
mod row_sgd;

use burn::config::Config;

pub use burn_losses_kernels::drawn_rows::mean_of_drawn_rows;

#[cfg(feature = "optim")]
pub use {
    row_adamw::{RowAdamW, RowAdamWConfig, RowAdamWState},
    row_sgd::{RowSgd, RowSgdConfig, RowSgdState},
};

#[cfg(feature = "optim")]
crate::module::default_is_new!(RowSgdConfig, RowAdamWConfig);

/// What the gradient of a parameter is whose rows are drawn.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum RowGradient {
    /// As large as the parameter, 0 for rows that were not drawn: for every optimizer.
    Dense,
    /// Of the drawn rows alone, for the [optimizers of rows](crate::optim). Where all rows are compared with, because the sample
    /// would not be smaller, it is dense all the same, which these optimizers take too; and so it is on a backend that is on
    /// in `burn` only.
    Drawn,
}
