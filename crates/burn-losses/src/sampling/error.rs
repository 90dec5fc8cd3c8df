use core::fmt;

/// Why labels and settings give no batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SamplingError {
    /// A setting is out of its range.
    Setting {
        /// Whose.
        sampler: &'static str,
        /// Which.
        field: &'static str,
        /// What it must be.
        range: &'static str,
        /// What it is.
        value: usize,
    },
    /// There are no samples.
    NoSamples,
    /// A label is negative, which means "no class".
    NegativeLabel {
        /// The sample.
        index: usize,
        /// Its label.
        value: i64,
    },
    /// Fewer classes than a batch needs.
    TooFewClasses {
        /// How many there are.
        found: usize,
        /// How many a batch needs.
        needed: usize,
    },
    /// Fewer super-classes than a batch needs.
    TooFewSuperClasses {
        /// How many there are.
        found: usize,
        /// How many a batch needs.
        needed: usize,
    },
    /// A super-class cannot fill its part of a batch.
    SmallSuperClass {
        /// Its label.
        super_class: i64,
        /// How many classes it has.
        found: usize,
        /// How many its part of a batch needs.
        needed: usize,
    },
    /// No class of a super-class fits into its part of a batch.
    LargeClasses {
        /// The label of the super-class.
        super_class: i64,
        /// How many samples its part of a batch has.
        part: usize,
    },
    /// Not every sample has a class and a super-class.
    Lengths {
        /// How many classes there are.
        classes: usize,
        /// How many super-classes.
        super_classes: usize,
    },
}

impl fmt::Display for SamplingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { sampler, field, range, value } => {
                write!(f, "{sampler}: {field} must be {range}, got {value}")
            }
            Self::NoSamples => f.write_str("there are no samples to make batches of"),
            Self::NegativeLabel { index, value } => {
                write!(f, "label {index} is {value}: a sample without a class is in no batch, leave it out")
            }
            Self::TooFewClasses { found, needed } => {
                write!(f, "a batch needs {needed} classes, and there are {found}")
            }
            Self::TooFewSuperClasses { found, needed } => {
                write!(f, "a batch needs {needed} super-classes, and there are {found}")
            }
            Self::SmallSuperClass { super_class, found, needed } => {
                write!(f, "super-class {super_class} has {found} classes, and its part of a batch needs {needed}")
            }
            Self::LargeClasses { super_class, part } => {
                write!(f, "no class of super-class {super_class} fits into its part of a batch, {part} samples")
            }
            Self::Lengths { classes, super_classes } => {
                write!(f, "every sample needs a class and a super-class, got {classes} and {super_classes}")
            }
        }
    }
}

impl core::error::Error for SamplingError {}
