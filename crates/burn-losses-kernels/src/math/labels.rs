//! Labels in a form that can be compared.

use burn::backend::{DeviceOps, DispatchDeviceId};
use burn::tensor::{DType, Device, Int, Tensor};

/// Whether the device's tensors lie in the memory of the host, so that reading them waits for nothing.
pub fn in_host_memory(device: &Device) -> bool {
    matches!(backend(device), Some(DispatchDeviceId::Flex | DispatchDeviceId::NdArray))
}

fn backend(device: &Device) -> Option<DispatchDeviceId> {
    // The upper byte of the type says which backend it is, also of one that is on in Burn and off in this crate.
    DispatchDeviceId::try_from(device.as_dispatch().id().type_id >> 8).ok()
}

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
