//! Pictures on a device.

use burn::tensor::{Device, Tensor, TensorData};

use super::augment::Change;

/// Pictures as one tensor `[pictures, 3, size, size]`, copied to the device at once.
pub(crate) fn pictures<'a>(
    pictures: impl ExactSizeIterator<Item = (&'a [u8], Change)>,
    size: usize,
    device: &Device,
) -> Tensor<4> {
    let count = pictures.len();
    let mut values = Vec::with_capacity(count * 3 * size * size);
    for (pixels, change) in pictures {
        change.append(pixels, size, &mut values);
    }
    Tensor::from_data(TensorData::new(values, [count, 3, size, size]), device)
}
