/// How a state of tensors is saved: Burn's derive works in its own crate only.
macro_rules! record_state {
    ($state:ident { $($field:ident),+ }) => {
        impl<const D: usize> burn::optim::RecordState for $state<D> {
            fn state_flatten(&self, prefix: &str, out: &mut burn::optim::StateSink) {
                $(out.push_tensor(prefix, stringify!($field), self.$field.to_data());)+
            }

            fn state_unflatten(prefix: &str, source: &mut burn::optim::StateSource, device: &burn::tensor::Device) -> Option<Self> {
                let mut tensor = |field: &str| {
                    let data = source.take_tensor(prefix, field)?;
                    let dtype = data.dtype();
                    Some(burn::tensor::Tensor::from_data(data, (device, dtype)))
                };
                Some(Self { $($field: tensor(stringify!($field))?),+ })
            }
        }
    };
}
pub(super) use record_state;
