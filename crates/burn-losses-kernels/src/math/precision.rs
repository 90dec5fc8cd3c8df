//! Half precision is computed in `f32`: a sum over 100 000 classes overflows `f16`, and `bf16` has three digits.

use burn::tensor::{DType, Tensor};

/// The same numbers in a precision fit for sums: `f32` for half precision, unchanged otherwise.
pub fn widen<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    match tensor.dtype() {
        DType::F16 | DType::BF16 => tensor.cast(DType::F32),
        _ => tensor,
    }
}

/// The tensor in `dtype`, untouched when it is already.
pub fn cast_to<const D: usize>(tensor: Tensor<D>, dtype: DType) -> Tensor<D> {
    if tensor.dtype() == dtype { tensor } else { tensor.cast(dtype) }
}
