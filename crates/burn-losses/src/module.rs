//! What modules and configs of losses are beside their formula.

/// Configs in which nothing is required have a default.
macro_rules! default_is_new {
    ($($config:ty),+ $(,)?) => {$(
        impl Default for $config {
            fn default() -> Self {
                Self::new()
            }
        }
    )+};
}

/// Losses are printed in one line, as Burn's own are.
macro_rules! one_line {
    ($($loss:ty),+ $(,)?) => {$(
        impl burn::module::ModuleDisplay for $loss {
            fn custom_settings(&self) -> Option<burn::module::DisplaySettings> {
                burn::module::DisplaySettings::new().with_new_line_after_attribute(false).optional()
            }
        }
    )+};
}

pub(crate) use {default_is_new, one_line};
