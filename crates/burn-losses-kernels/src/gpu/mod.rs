//! What every launch of a kernel on a GPU needs: how many units and cubes, and tensors as kernels read and write them.

pub(crate) mod reductions;

use burn::backend::cubecl::dtype_to_storage_type;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype, empty_device_dtype};
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;
use cubecl::ir::ElemType;
use cubecl::prelude::*;
use cubecl::server::CubeCountSelection;

/// Units of a cube, where the device has as many.
const MOST_UNITS: u32 = 256;

/// Planes of a cube: planes of a processor are small, and many units that wait for each other are slow there.
const MOST_PLANES: u32 = 8;

/// Fewer are not worth a kernel of their own; every number of units is compiled separately.
const FEWEST_UNITS: u32 = 32;

pub(crate) fn dims(tensor: &CubeTensor) -> [usize; 2] {
    [tensor.meta.shape()[0], tensor.meta.shape()[1]]
}

pub(crate) fn storage(tensor: &CubeTensor) -> ElemType {
    dtype_to_storage_type(tensor.dtype)
}

/// A matrix whose rows are each in one piece, as the kernels read them. Gaps between rows are left as they are.
pub(crate) fn in_rows(tensor: CubeTensor) -> CubeTensor {
    let whole_rows = tensor.meta.shape()[1] == 1 || tensor.meta.strides()[1] == 1;
    if whole_rows && !tensor.meta.is_tiled() { tensor } else { into_contiguous(tensor) }
}

/// The result of a kernel whose first argument is `input`, and the argument for it: the memory of the input where nothing
/// else holds it.
pub(crate) fn output_like(input: &CubeTensor) -> (CubeTensor, TensorArg) {
    if input.can_mut() && input.is_nonoverlapping() {
        return (input.clone(), input.as_tensor_alias(0));
    }
    let shape = input.meta.shape().clone();
    let output = empty_device_dtype(input.client.clone(), input.device.clone(), shape, input.dtype);
    (output.clone(), output.into_tensor_arg())
}

/// Room for a matrix of numbers like those of a tensor.
pub(crate) fn matrix_like(tensor: &CubeTensor, shape: [usize; 2]) -> CubeTensor {
    empty_device_contiguous_dtype(tensor.client.clone(), tensor.device.clone(), shape.into(), tensor.dtype)
}

/// The same numbers in memory that nothing else holds.
pub(crate) fn writable(tensor: CubeTensor) -> CubeTensor {
    if tensor.can_mut() && tensor.is_nonoverlapping() { tensor } else { tensor.copy() }
}

/// The number of units for a row, a power of two.
pub(crate) fn units_for(client: &Client, columns: usize) -> u32 {
    let hardware = &client.properties().hardware;
    let most = MOST_UNITS
        .min(MOST_PLANES * hardware.plane_size_max)
        .min(hardware.max_units_per_cube)
        .min(hardware.max_cube_dim.0);
    let useful = columns.next_power_of_two().clamp(FEWEST_UNITS as usize, MOST_UNITS as usize) as u32;

    useful.min(1 << most.ilog2())
}

/// At least `count` cubes, spread over the axes where one axis is too short; the kernels skip the rest.
pub(crate) fn cubes(client: &Client, count: usize) -> CubeCount {
    CubeCountSelection::new(client, count as u32).cube_count()
}

pub(crate) fn address_type(tensors: &[&CubeTensor]) -> AddressType {
    tensors.iter().map(|tensor| tensor.required_address_type()).max().unwrap_or_default()
}
