use core::fmt;

use super::Reading;

/// Directions that spread less than this are one.
const ONE_DIRECTION: f64 = 1e-3;

/// The loss of a model that tells nothing apart, to which training falls back when it fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plateau {
    /// A hinge of two distances with this margin, all distances equal: the margin.
    Margin(f64),
    /// A soft margin of two distances: `ln 2`.
    SoftMargin,
    /// A softmax over so many classes: `ln classes`.
    Classes(usize),
}

impl Plateau {
    /// The loss on it.
    pub fn loss(self) -> f64 {
        match self {
            Self::Margin(margin) => margin,
            Self::SoftMargin => core::f64::consts::LN_2,
            Self::Classes(classes) => libm::log(classes.max(1) as f64),
        }
    }

    /// Whether a loss is on it, within a hundredth.
    pub fn holds(self, loss: f64) -> bool {
        (loss - self.loss()).abs() <= 0.01 * self.loss().abs().max(1e-3)
    }
}

/// That a model has collapsed: it gives every sample the same embedding, or tells the classes no better apart than that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Collapse {
    /// The plateau that the loss is on, if it is.
    pub plateau: Option<Plateau>,
    /// How far the directions of the embeddings spread, if hardly: see [`Reading::direction_variance`].
    pub direction_variance: Option<f64>,
}

impl Collapse {
    /// Looks at a reading, or the mean of several, of more than one row. `plateau` is that of the loss, if it has one.
    ///
    /// ```
    /// use burn_losses::diagnostics::{Collapse, Plateau};
    ///
    /// // A triplet loss that is stuck at its margin, with embeddings that all point one way.
    /// let collapse = Collapse::check(0.2001, 1e-6, Some(Plateau::Margin(0.2))).unwrap();
    /// assert_eq!(collapse.plateau, Some(Plateau::Margin(0.2)));
    /// assert!(collapse.to_string().contains("lower the learning rate"));
    /// assert_eq!(Collapse::check(0.1, 0.8, Some(Plateau::Margin(0.2))), None);
    /// ```
    pub fn check(loss: f64, direction_variance: f64, plateau: Option<Plateau>) -> Option<Self> {
        let plateau = plateau.filter(|plateau| plateau.holds(loss));
        let direction_variance = Some(direction_variance).filter(|&variance| variance < ONE_DIRECTION);
        (plateau.is_some() || direction_variance.is_some()).then_some(Self { plateau, direction_variance })
    }

    /// [`check`](Self::check) of a reading; a batch of one row never has spread embeddings, and is not looked at.
    pub fn of(reading: &Reading, plateau: Option<Plateau>) -> Option<Self> {
        if reading.batch < 2 { None } else { Self::check(reading.loss, reading.direction_variance, plateau) }
    }
}

impl fmt::Display for Collapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(variance) = self.direction_variance {
            write!(f, "all embeddings have nearly the same direction (variance {variance:.1e})")?;
        }
        if let Some(plateau) = self.plateau {
            if self.direction_variance.is_some() {
                f.write_str(", and ")?;
            }
            let what = match plateau {
                Plateau::Margin(_) => "the margin: every positive is as far as every negative",
                Plateau::SoftMargin => "ln 2: every positive is as far as every negative",
                Plateau::Classes(_) => "ln of the number of classes: every class is as likely as every other",
            };
            write!(f, "the loss is {what}")?;
        }
        f.write_str("; lower the learning rate, or begin with easier pairs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn each_plateau_has_its_loss() {
        assert_eq!(Plateau::Margin(0.3).loss(), 0.3);
        assert!((Plateau::SoftMargin.loss() - core::f64::consts::LN_2).abs() < 1e-6);
        assert!((Plateau::Classes(200).loss() - 5.298_317).abs() < 1e-6);
        assert!(Plateau::Classes(200).holds(5.30) && !Plateau::Classes(200).holds(5.20));
        assert!(!Plateau::Margin(0.3).holds(f64::NAN));
    }

    #[test]
    fn equal_embeddings_are_a_collapse_whatever_the_loss() {
        let collapse = Collapse::check(3.0, 1e-8, Some(Plateau::SoftMargin)).unwrap();
        assert_eq!(collapse.plateau, None);
        assert_eq!(
            collapse.to_string(),
            "all embeddings have nearly the same direction (variance 1.0e-8); lower the learning rate, or begin with \
             easier pairs"
        );
        assert_eq!(Collapse::check(3.0, 0.5, None), None);
    }
}
