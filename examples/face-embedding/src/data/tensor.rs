//! Pictures on a device.

use burn::tensor::{Device, Tensor, TensorData};

use super::augment::Change;
use super::face_set::Face;

/// Pictures as one tensor `[pictures, 3, size, size]`, copied to the device at once.
pub(crate) fn pictures<'a>(
    faces: impl ExactSizeIterator<Item = (&'a Face, Change)>,
    size: usize,
    device: &Device,
) -> Tensor<4> {
    let count = faces.len();
    let mut values = Vec::with_capacity(count * 3 * size * size);
    for (face, change) in faces {
        change.append(face, size, &mut values);
    }
    Tensor::from_data(TensorData::new(values, [count, 3, size, size]), device)
}
