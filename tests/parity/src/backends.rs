use burn::tensor::{DType, Device};

/// How exactly a backend computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exactness {
    /// `f64` on the CPU.
    Double,
    /// `f32` on the CPU.
    Single,
    /// `f32` through a graphics driver that runs on the CPU.
    SoftwareGpu,
    /// `f32` on a graphics card.
    Gpu,
}

/// A backend in one precision.
pub struct Backend {
    /// Its name and, on a GPU, the adapter's.
    pub name: String,
    /// With autodiff.
    pub device: Device,
    /// The precision tensors are made in.
    pub dtype: DType,
    /// How exactly it computes.
    pub exactness: Exactness,
}

impl Backend {
    /// Whether it computes in `f64`.
    pub fn is_double(&self) -> bool {
        self.exactness == Exactness::Double
    }

    /// Whether its tensors lie in memory of its own, so that to read one is to wait.
    pub fn is_gpu(&self) -> bool {
        matches!(self.exactness, Exactness::SoftwareGpu | Exactness::Gpu)
    }

    fn new(name: &str, device: Device, exactness: Exactness) -> Self {
        let dtype = if exactness == Exactness::Double { DType::F64 } else { DType::F32 };
        Self { name: name.to_owned(), device: device.autodiff(), dtype, exactness }
    }
}

/// The backends of the features, each in every precision it is right in (`f64` is not right on wgpu).
///
/// # Panics
///
/// With feature `wgpu`, if there is no adapter: a test that needs one must not be skipped.
pub fn backends() -> Vec<Backend> {
    let mut backends = Vec::new();
    for exactness in [Exactness::Single, Exactness::Double] {
        #[cfg(feature = "ndarray")]
        backends.push(Backend::new("ndarray", ndarray(), exactness));
        #[cfg(feature = "flex")]
        backends.push(Backend::new("flex", Device::flex(), exactness));
        let _ = exactness;
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
        Ok((device, adapter)) => {
            let exactness = if adapter.contains("llvmpipe") { Exactness::SoftwareGpu } else { Exactness::Gpu };
            Backend::new(&format!("wgpu ({adapter})"), device, exactness)
        }
        Err(_) => panic!(
            "wgpu finds no adapter. Install a Vulkan driver; on Debian and Ubuntu, `apt-get install mesa-vulkan-drivers` \
             brings one that runs on the CPU."
        ),
    }
}
