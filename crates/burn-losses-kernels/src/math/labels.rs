//! Labels in a form that can be compared.

use burn::tensor::{DType, Int, Tensor};

/// Labels as signed numbers of 32 bits or more, so that they can be compared with -1 and with any number of classes; what
/// does not fit 32 bits becomes the smallest number, hence no class.
pub fn signed(labels: Tensor<1, Int>) -> Tensor<1, Int> {
    match labels.dtype() {
        DType::U8 | DType::U16 | DType::I8 | DType::I16 => labels.cast(DType::I32),
        DType::U32 | DType::U64 => {
            let too_large = labels.clone().greater_scalar(i32::MAX);
            labels.mask_fill(too_large.clone(), 0).cast(DType::I32).mask_fill(too_large, i32::MIN)
        }
        _ => labels,
    }
}
