//! The gradient of all rows on GPUs: a row is written where it belongs, and no two to one place.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::backend::RowKernels;
use crate::gpu::{address_type, cubes, dims, in_rows, storage, units_for};

/// `gradient[places[i]] = of_rows[i]` where `used[i]` is not negative. A cube takes `units` neighbours of one row.
#[cube(launch, address_type = "dynamic")]
fn place_kernel<F: Numeric, I: Int, U: Int>(
    of_rows: &Tensor<F>,      // [drawn, columns]
    places: &Tensor<I>,       // [drawn]
    used: &Tensor<U>,         // [drawn]
    gradient: &mut Tensor<F>, // [rows, columns]
    #[comptime] units: usize,
    #[define(F, I, U)] _dtypes: [ElemType; 3],
) {
    let columns = of_rows.shape(1);
    let cubes_per_row = columns.div_ceil(units);
    let row = CUBE_POS / cubes_per_row;
    let column = CUBE_POS % cubes_per_row * units + UNIT_POS_X as usize;
    if row >= of_rows.shape(0) || column >= columns {
        terminate!();
    }
    if used[row * used.stride(0)] >= U::new(0) {
        let place = usize::cast_from(places[row * places.stride(0)]);
        let index = place * gradient.stride(0) + column;
        gradient[index] = of_rows[row * of_rows.stride(0) + column];
    }
}

impl RowKernels for CubeBackend {
    fn of_weights(
        of_rows: FloatTensor<Self>,
        places: IntTensor<Self>,
        used: IntTensor<Self>,
        rows: usize,
    ) -> FloatTensor<Self> {
        let of_rows = in_rows(of_rows);
        let [drawn, columns] = dims(&of_rows);
        let client = of_rows.client.clone();
        let units = units_for(&client, columns);
        let shape = Shape::from([rows, columns]);
        let gradient = Self::float_zeros(shape, &of_rows.device, of_rows.dtype.into());
        let dtypes = [storage(&of_rows), storage(&places), storage(&used)];
        place_kernel::launch(
            &client,
            cubes(&client, drawn * columns.div_ceil(units as usize)),
            CubeDim::new_1d(units),
            address_type(&[&of_rows, &gradient]),
            of_rows.into_tensor_arg(),
            places.into_tensor_arg(),
            used.into_tensor_arg(),
            gradient.clone().into_tensor_arg(),
            units as usize,
            dtypes,
        );
        gradient
    }
}
