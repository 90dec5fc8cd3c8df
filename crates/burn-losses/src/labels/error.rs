use core::fmt;

/// A label that names no class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelError {
    /// Where the label stands in its batch.
    pub index: usize,
    /// The label; wide enough for every integer type.
    pub value: i128,
    /// How many classes there are.
    pub classes: usize,
    /// The label that would have meant "no class".
    pub ignore_label: Option<i64>,
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, value, classes, .. } = self;
        if (0..*classes as i128).contains(value) {
            return write!(f, "labels[{index}] is {value}, which does not fit the 32 bits of a label");
        }
        write!(f, "labels[{index}] is {value}, but ")?;
        self.classes(f)
    }
}

impl LabelError {
    /// What would have been a class.
    pub(super) fn classes(&self, f: &mut impl fmt::Write) -> fmt::Result {
        match self.classes {
            0 => write!(f, "there are no classes")?,
            classes => write!(f, "there are {classes} classes, 0-based (0 to {})", classes - 1)?,
        }
        match self.ignore_label {
            // Whoever wrote a negative number wanted it to be ignored.
            Some(ignored) if self.value < 0 => write!(f, ", and labels.ignore_label is {ignored}"),
            None if self.value < 0 => write!(f, ", and no label is ignored (labels.ignore_label)"),
            _ => Ok(()),
        }
    }
}

impl core::error::Error for LabelError {}
