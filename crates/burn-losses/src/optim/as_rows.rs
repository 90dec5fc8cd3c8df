use burn::tensor::Tensor;

/// A parameter as rows and its gradient beside it: everything at one place of the first dimension is a row, and a vector is
/// one. A packed gradient stays as it is.
pub(super) fn as_rows<const D: usize>(weights: Tensor<D>, gradient: Tensor<D>) -> [Tensor<2>; 2] {
    let (shape, of_gradient) = (weights.dims(), gradient.dims());
    let size = rows_of(shape);
    let gradient = if of_gradient == shape {
        gradient.reshape(size)
    } else {
        assert!(D == 2, "a gradient of shape {of_gradient:?} is none of a parameter of shape {shape:?}");
        gradient.reshape([of_gradient[0], of_gradient[1]])
    };
    [weights.reshape(size), gradient]
}

/// How many rows a parameter has, and how long they are.
pub(super) fn rows_of<const D: usize>(shape: [usize; D]) -> [usize; 2] {
    match shape.as_slice() {
        [] => [1, 1],
        [length] => [1, *length],
        [rows, rest @ ..] => [*rows, rest.iter().product()],
    }
}
