//! Kernels for the steps of a block on GPUs.

use burn_cubecl::CubeBackend;

use super::blocks::Blocks;

impl Blocks for CubeBackend {}
