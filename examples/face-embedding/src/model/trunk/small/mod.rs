//! The small network, which an ordinary processor trains in minutes.
//!
//! There is one network and there are two layouts that its features can have; which is used, the device decides.
//!
//! | file | what |
//! | --- | --- |
//! | `network.rs` | the network, from its settings and in either layout |
//! | `layers.rs` | a convolution with its norm, and a residual block, in any layout |
//! | `layout.rs` | what a layout can do, and which one a device computes faster |
//! | `batch_first.rs` | `[batch, channels, height, width]`: Burn's convolution |
//! | `batch_last.rs` | `[channels, places * batch]`: a convolution is a matrix product |
//! | `patches.rs` | that product and its gradient, in blocks |

mod batch_first;
mod batch_last;
mod layers;
mod layout;
mod network;
mod patches;

pub use network::{SmallNetwork, SmallNetworkConfig};
