//! What the operations of this crate and the losses share. Not part of the public interface: it may change at any time.

mod cap;
mod hinge;
mod labels;
mod log_space;
pub(crate) mod norm;
mod precision;

pub use cap::soft_cap;
pub use hinge::hinge;
pub use labels::{comparable, in_host_memory, on_cubecl, signed};
pub use log_space::{NOTHING, log_sum_exp, log_sum_exp_where, softplus};
pub use norm::{has_direction, row_lengths, unit_rows};
pub use precision::{cast_to, widen};
