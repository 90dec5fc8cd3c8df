use burn::config::Config;
use burn::tensor::Tensor;

/// How the distribution of a student differs from that of its teacher.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum Divergence {
    /// `KL(teacher || student)`: the student covers all that the teacher does. Hinton's, and what a cross-entropy of the
    /// teacher's probabilities has the gradient of.
    ForwardKl,
    /// `KL(student || teacher)`: the student keeps to what the teacher finds likely. MiniLLM's.
    ReverseKl,
    /// `beta·KL(teacher || mixture) + (1 - beta)·KL(student || mixture)` with
    /// `mixture = beta·teacher + (1 - beta)·student`: the generalised Jensen-Shannon divergence, never above `log(2)`. GKD's.
    ///
    /// `beta` is 0, 1 or in `[1e-6, 1 - 1e-6]`. The sum itself vanishes at both ends; as in TRL, 0 is `ForwardKl` and 1 is
    /// `ReverseKl`, to which the sum tends when it is divided by `beta` and by `1 - beta`.
    JensenShannon(f64),
}

impl Divergence {
    /// The ends of a Jensen-Shannon divergence by their names.
    #[track_caller]
    pub(super) fn checked(self, loss: &str) -> Self {
        match self {
            Self::JensenShannon(0.0) => Self::ForwardKl,
            Self::JensenShannon(1.0) => Self::ReverseKl,
            Self::JensenShannon(beta) => {
                assert!(
                    (1e-6..=1.0 - 1e-6).contains(&beta),
                    "{loss}: the beta of JensenShannon must be 0, 1 or in [1e-6, 1 - 1e-6], got {beta}"
                );
                self
            }
            Self::ForwardKl | Self::ReverseKl => self,
        }
    }

    /// The divergence of every token, `[tokens, 1]`, and its slope by the logits of the student, `[tokens, classes]`, from
    /// logarithms of probabilities.
    pub(super) fn of(self, student: Tensor<2>, teacher: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        match self {
            Self::ForwardKl => {
                let wanted = teacher.clone().exp();
                let losses = (wanted.clone() * (teacher - student.clone())).sum_dim(1);
                (losses, student.exp() - wanted)
            }
            Self::ReverseKl => {
                let share = student.clone().exp();
                let surprise = student - teacher;
                let losses = (share.clone() * surprise.clone()).sum_dim(1);
                (losses.clone(), share * (surprise - losses))
            }
            Self::JensenShannon(beta) => {
                let share = student.clone().exp();
                // log(mixture) is that of the larger of the two plus `below`, which is exactly 0 where they are equal.
                let ahead = teacher.clone() - student;
                let is_behind = ahead.clone().lower_equal_scalar(0.0);
                let rest = ahead.clone().abs().neg().exp().sub_scalar(1.0);
                let of_teacher = rest.clone().mul_scalar(beta);
                let below = rest.mul_scalar(1.0 - beta).mask_where(is_behind.clone(), of_teacher).log1p();
                let from_teacher = ahead.clone().mask_fill(is_behind.clone().bool_not(), 0.0) - below.clone();
                let from_student = ahead.neg().mask_fill(is_behind, 0.0) - below;

                let of_student = (share.clone() * from_student.clone()).sum_dim(1);
                let of_teacher = (teacher.exp() * from_teacher).sum_dim(1);
                let losses = of_teacher.mul_scalar(beta) + of_student.clone().mul_scalar(1.0 - beta);
                (losses, (share * (from_student - of_student)).mul_scalar(1.0 - beta))
            }
        }
    }
}
