//! What all units of a cube find together. The number of units is a power of two; every one of them must come by.

use cubecl::prelude::*;

/// The first number if one is a NaN, unlike what `max` of a device may do.
#[cube]
pub(crate) fn larger<F: Float>(first: F, second: F) -> F {
    let mut largest = first;
    if second > first {
        largest = second;
    }
    largest
}

/// The sum of the numbers of all units, for every unit.
#[cube]
pub(crate) fn sum_of_cube<F: Float>(number: F, unit: usize, #[comptime] units: usize) -> F {
    let mut numbers = Shared::<[F]>::new_slice(units);
    numbers[unit] = number;
    sync_cube();
    let mut half = CUBE_DIM_X as usize / 2;
    while half > 0 {
        if unit < half {
            numbers[unit] = numbers[unit] + numbers[unit + half];
        }
        sync_cube();
        half /= 2;
    }
    numbers[0]
}

/// The largest of the numbers of all units, for every unit.
#[cube]
pub(crate) fn largest_of_cube<F: Float>(number: F, unit: usize, #[comptime] units: usize) -> F {
    let mut numbers = Shared::<[F]>::new_slice(units);
    numbers[unit] = number;
    sync_cube();
    let mut half = CUBE_DIM_X as usize / 2;
    while half > 0 {
        if unit < half {
            numbers[unit] = larger::<F>(numbers[unit], numbers[unit + half]);
        }
        sync_cube();
        half /= 2;
    }
    numbers[0]
}

/// A sum of exponentials of numbers, relative to the largest of them.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Exponentials<F: Float> {
    pub(crate) largest: F,
    /// The sum of `exp(number - largest)`.
    pub(crate) sum: F,
}

#[cube]
impl<F: Float> Exponentials<F> {
    /// Of no numbers yet; what is below `lowest` counts as far less than it.
    pub(crate) fn above(lowest: F) -> Self {
        Exponentials::<F> { largest: lowest, sum: F::new(0.0_f32) }
    }

    /// One number more. A NaN is never larger and so stays in the sum.
    pub(crate) fn add(&mut self, number: F) {
        if number > self.largest {
            self.sum = self.sum * (self.largest - number).exp() + F::new(1.0_f32);
            self.largest = number;
        } else {
            self.sum += (number - self.largest).exp();
        }
    }

    /// Whether no number was above `lowest`, nor was one a NaN. (That the sum is 0 would not say so: an exponential of minus
    /// infinity is 0 on most devices.)
    pub(crate) fn is_of_nothing(&self, lowest: F) -> bool {
        self.largest == lowest && self.sum >= F::new(0.0_f32)
    }

    pub(crate) fn logarithm(&self) -> LogSumExp<F> {
        LogSumExp::<F> { largest: self.largest, rest: self.sum.ln() }
    }

    /// The sum relative to `largest`.
    pub(crate) fn relative_to(&self, largest: F) -> F {
        self.sum * (self.largest - largest).exp()
    }

    /// The sum of those of all units, for every unit.
    pub(crate) fn of_cube(self, unit: usize, #[comptime] units: usize) -> Self {
        let mut all_largest = Shared::<[F]>::new_slice(units);
        let mut all_sums = Shared::<[F]>::new_slice(units);
        all_largest[unit] = self.largest;
        all_sums[unit] = self.sum;
        sync_cube();
        let mut half = CUBE_DIM_X as usize / 2;
        while half > 0 {
            if unit < half {
                let one = Exponentials::<F> { largest: all_largest[unit], sum: all_sums[unit] };
                let other = Exponentials::<F> { largest: all_largest[unit + half], sum: all_sums[unit + half] };
                let largest = larger::<F>(one.largest, other.largest);
                all_sums[unit] = one.relative_to(largest) + other.relative_to(largest);
                all_largest[unit] = largest;
            }
            sync_cube();
            half /= 2;
        }
        Exponentials::<F> { largest: all_largest[0], sum: all_sums[0] }
    }
}

/// `log(sum of exp)` as two numbers, of which the sum would have no digits where all numbers are large.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct LogSumExp<F: Float> {
    pub(crate) largest: F,
    /// `log(sum of exp(number - largest))`.
    pub(crate) rest: F,
}

#[cube]
impl<F: Float> LogSumExp<F> {
    /// How far a number is above it: the logarithm of its share.
    pub(crate) fn log_share(&self, number: F) -> F {
        (number - self.largest) - self.rest
    }
}
