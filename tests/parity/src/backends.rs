use burn::tensor::{DType, Device};

/// A backend in one precision.
pub struct Backend {
    /// Its name and, on a GPU, the adapter's.
    pub name: String,
    /// With autodiff.
    pub device: Device,
    /// The precision tensors are made in.
    pub dtype: DType,
    /// Whether it runs on a graphics driver, where functions are less exact.
    pub is_gpu: bool,
}

impl Backend {
    /// Whether it computes in `f64`.
    pub fn is_double(&self) -> bool {
        self.dtype == DType::F64
    }

    fn new(name: &str, device: Device, dtype: DType, is_gpu: bool) -> Self {
        Self { name: name.to_owned(), device: device.autodiff(), dtype, is_gpu }
    }
}

/// The backends of the features, each in every precision it is right in (`f64` is not right on wgpu).
///
/// # Panics
///
/// With feature `wgpu`, if there is no adapter: a test that needs one must not be skipped.
pub fn backends() -> Vec<Backend> {
    let mut backends = Vec::new();
    for dtype in [DType::F32, DType::F64] {
        #[cfg(feature = "ndarray")]
        backends.push(Backend::new("ndarray", ndarray(), dtype, false));
        #[cfg(feature = "flex")]
        backends.push(Backend::new("flex", Device::flex(), dtype, false));
        let _ = dtype;
    }
    #[cfg(feature = "wgpu")]
    backends.push(wgpu());
    backends
}

#[cfg(feature = "ndarray")]
#[expect(deprecated, reason = "Burn deprecates ndarray in favour of flex; this project supports both")]
fn ndarray() -> Device {
    Device::ndarray()
}

#[cfg(feature = "wgpu")]
fn wgpu() -> Backend {
    use burn::tensor::DeviceKind;

    let opened = std::panic::catch_unwind(|| {
        let device = Device::wgpu(DeviceKind::DefaultDevice);
        let identity = device.identity();
        (device, identity.map_or_else(|| "an adapter without a name".to_owned(), |identity| identity.name))
    });
    match opened {
        Ok((device, adapter)) => Backend::new(&format!("wgpu ({adapter})"), device, DType::F32, true),
        Err(_) => panic!(
            "wgpu finds no adapter. Install a Vulkan driver; on Debian and Ubuntu, `apt-get install mesa-vulkan-drivers` \
             brings one that runs on the CPU."
        ),
    }
}
