//! Labels in a form that can be compared.

use burn::backend::{DeviceOps, DispatchDeviceId};
use burn::tensor::{DType, Device, Int, Tensor};

/// Whether the device's tensors lie in the memory of the host, so that reading them waits for nothing.
pub fn in_host_memory(device: &Device) -> bool {
    matches!(backend(device), Some(DispatchDeviceId::Flex | DispatchDeviceId::NdArray))
}

/// Whether the device is one of CubeCL's, where a thread may wait for what another one computes.
pub fn on_cubecl(device: &Device) -> bool {
    backend(device) == Some(DispatchDeviceId::Cube)
}

fn backend(device: &Device) -> Option<DispatchDeviceId> {
    // The upper byte of the type says which backend it is, also of one that is on in Burn and off in this crate.
    DispatchDeviceId::try_from(device.as_dispatch().id().type_id >> 8).ok()
}

/// Labels as signed numbers, so that they can be compared with -1 and with any number of classes.
///
/// In host memory every label of up to 63 bits keeps its value. Elsewhere integers have 32 bits, and an unsigned number
/// that does not fit becomes the smallest number, hence no class and no identity.
///
/// # Panics
///
/// If a label in host memory has 64 bits.
pub fn signed(labels: Tensor<1, Int>) -> Tensor<1, Int> {
    let unsigned = labels.dtype();
    match unsigned {
        DType::U8 | DType::U16 | DType::I8 | DType::I16 => labels.cast(DType::I32),
        DType::U32 | DType::U64 if in_host_memory(&labels.device()) => {
            if unsigned == DType::U64 && labels.dims() != [0] {
                let largest = labels.clone().max().into_scalar::<u64>();
                assert!(i64::try_from(largest).is_ok(), "labels: {largest} has more than 63 bits");
            }
            labels.cast(DType::I64)
        }
        DType::U32 | DType::U64 => {
            let too_large = labels.clone().greater_scalar(i32::MAX);
            labels.mask_fill(too_large.clone(), 0).cast(DType::I32).mask_fill(too_large, i32::MIN)
        }
        _ => labels,
    }
}

/// Two sets of labels as signed numbers of one type: those of a batch can be wider than those of a memory.
pub fn comparable(labels: Tensor<1, Int>, others: Tensor<1, Int>) -> (Tensor<1, Int>, Tensor<1, Int>) {
    let (labels, others) = (signed(labels), signed(others));
    if labels.dtype() == others.dtype() {
        return (labels, others);
    }
    // A Burn server stops at any cast of integers, so what is wide already is left alone.
    let wide = |labels: Tensor<1, Int>| if labels.dtype() == DType::I64 { labels } else { labels.cast(DType::I64) };
    (wide(labels), wide(others))
}
