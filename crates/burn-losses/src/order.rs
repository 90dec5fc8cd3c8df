//! The order of the numbers of a batch, without a wait for the device.

use alloc::vec::Vec;

use burn::tensor::{Int, Tensor, TensorData};
use burn_losses_kernels::math::in_host_memory;

/// Where the numbers stand from the smallest to the largest, among equals from the first to the last: `numbers[order[0]]`
/// is the smallest. None of them is NaN.
///
/// In host memory a sort of the host, elsewhere a network of operations on the device.
///
/// # Shapes
///
/// - numbers: `[count]`
/// - output: `[count]`
pub(crate) fn ascending(numbers: Tensor<1>) -> Tensor<1, Int> {
    let numbers = numbers.without_autodiff();
    let [count] = numbers.dims();
    if !in_host_memory(&numbers.device()) && count > 1 {
        return network(numbers);
    }
    // Plus 0.0, so that the two zeros are equal.
    let values = numbers.clone().add_scalar(0.0).try_into_vec_as::<f64>().expect("numbers");
    let mut order: Vec<i64> = (0..count as i64).collect();
    // Stable, so that equals stay in their order.
    order.sort_by(|&a, &b| values[a as usize].total_cmp(&values[b as usize]));

    Tensor::from_data(TensorData::new(order, [count]), &numbers.device())
}

/// A bitonic network: `log2(count)·(log2(count) + 1)/2` steps, each of which compares and swaps all numbers in pairs.
fn network(numbers: Tensor<1>) -> Tensor<1, Int> {
    let [count] = numbers.dims();
    let device = numbers.device();
    let size = count.next_power_of_two();
    let mut numbers = if size == count {
        numbers
    } else {
        // As large as the largest and after it.
        let padding = numbers.clone().max().expand([size - count]);
        Tensor::cat(alloc::vec![numbers, padding], 0)
    };
    let mut order = Tensor::<1, Int>::arange(0..size as i64, &device);

    let levels = size.trailing_zeros();
    for level in 1..=levels {
        for distance in (0..level).rev() {
            let half = 1_usize << distance;
            let shape @ [groups, _, _] = [size / (2 * half), 1, half];
            let sides = |side: usize| {
                let numbers = numbers.clone().reshape([groups, 2, half]).narrow(1, side, 1);
                (numbers, order.clone().reshape([groups, 2, half]).narrow(1, side, 1))
            };
            let ((left, left_order), (right, right_order)) = (sides(0), sides(1));
            // Stretches of 2^level numbers are sorted upwards and downwards in turn.
            let upwards = Tensor::<1, Int>::arange(0..groups as i64, &device)
                .bitwise_and_scalar(1_i64 << (level - distance - 1))
                .equal_scalar(0)
                .reshape([groups, 1, 1])
                .expand(shape);
            let equal = left.clone().equal(right.clone());
            let later = equal.bool_and(left_order.clone().greater(right_order.clone()));
            let swapped = left.clone().greater(right.clone()).bool_or(later).equal(upwards);
            let join = |low: Tensor<3>, high: Tensor<3>| Tensor::cat(alloc::vec![low, high], 1).reshape([size]);
            let joined =
                |low: Tensor<3, Int>, high: Tensor<3, Int>| Tensor::cat(alloc::vec![low, high], 1).reshape([size]);
            numbers =
                join(left.clone().mask_where(swapped.clone(), right.clone()), right.mask_where(swapped.clone(), left));
            order = joined(
                left_order.clone().mask_where(swapped.clone(), right_order.clone()),
                right_order.mask_where(swapped, left_order),
            );
        }
    }
    order.narrow(0, 0, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// Of a linear congruential generator, rounded so that many are equal.
    fn numbers(count: usize) -> Vec<f32> {
        let mut state = 12_345_u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = ((state >> 16) % 37) as f32 - 18.0;
            // Every second zero is -0.0, which is equal to the others.
            if number == 0.0 && state.is_multiple_of(2) { -number } else { number }
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn the_host_and_the_network_sort_as_a_count_of_what_comes_before() {
        for count in [0, 1, 2, 3, 7, 8, 33, 100, 257] {
            let values = numbers(count);
            let tensor = || Tensor::<1>::from_data(TensorData::new(values.clone(), [count]), &Device::flex());
            let mut expected = alloc::vec![0_i64; count];
            for (row, value) in values.iter().enumerate() {
                let before = |&(other, number): &(usize, &f32)| number < value || (number == value && other < row);
                expected[values.iter().enumerate().filter(before).count()] = row as i64;
            }
            assert_eq!(ascending(tensor()).try_into_vec_as::<i64>().unwrap(), expected, "{count} on the host");
            if count > 1 {
                assert_eq!(network(tensor()).try_into_vec_as::<i64>().unwrap(), expected, "{count} by the network");
            }
        }
    }
}
