use burn::tensor::Tensor;
use burn_losses_kernels::drawn_rows::is_packed;

/// The shapes of a matrix and its packed gradient; `None` where the gradient is an ordinary one.
///
/// # Panics
///
/// If it is neither.
pub(super) fn drawn<const D: usize>(weights: &Tensor<D>, gradient: &Tensor<D>) -> Option<[[usize; 2]; 2]> {
    if weights.dims() == gradient.dims() {
        return None;
    }
    let shapes = [weights, gradient].map(|tensor| <[usize; 2]>::try_from(tensor.dims().as_slice()).ok());
    let [weights, gradient] = [&weights.dims(), &gradient.dims()].map(|dims| dims.to_vec());
    match shapes {
        [Some(size), Some(of_gradient)] if is_packed(of_gradient, size) => Some([size, of_gradient]),
        _ => panic!(
            "an optimizer of rows: a gradient of shape {gradient:?} is not one of a parameter of shape {weights:?}"
        ),
    }
}
