//! Whichever network it is, as one module.

use std::fmt;

use burn::module::{Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor};
use burn::tensor::{Device, Tensor};

use super::iresnet::{IResNet, IResNetConfig};
use super::mobilefacenet::{MobileFaceNet, MobileFaceNetConfig};
use super::small::{SmallNetwork, SmallNetworkConfig};
use crate::settings::network::{NetworkKind, NetworkSettings};

/// Settings of [`Trunk`]: those of its network.
#[derive(Clone, Debug)]
pub enum TrunkConfig {
    /// See [`NetworkKind::Small`].
    Small(SmallNetworkConfig),
    /// See [`NetworkKind::MobileFaceNet`].
    MobileFaceNet(MobileFaceNetConfig),
    /// See [`NetworkKind::IResNet18`] and its kind.
    IResNet(IResNetConfig),
}

impl TrunkConfig {
    /// The trunk of such settings.
    ///
    /// # Panics
    ///
    /// If they are not [resolved](NetworkSettings::resolve).
    pub fn of(settings: &NetworkSettings) -> Self {
        let embedding_size = settings.embedding_size();
        let iresnet = |blocks| Self::IResNet(IResNetConfig::new(blocks).with_embedding_size(embedding_size));
        match settings.network {
            NetworkKind::Small => {
                let width = settings.width.expect("width is resolved");
                Self::Small(SmallNetworkConfig::new(settings.image_size(), embedding_size).with_width(width))
            }
            NetworkKind::MobileFaceNet => {
                Self::MobileFaceNet(MobileFaceNetConfig::new().with_embedding_size(embedding_size))
            }
            NetworkKind::IResNet18 => iresnet([2, 2, 2, 2]),
            NetworkKind::IResNet34 => iresnet([3, 4, 6, 3]),
            NetworkKind::IResNet50 => iresnet([3, 4, 14, 3]),
            NetworkKind::IResNet100 => iresnet([3, 13, 30, 3]),
        }
    }

    /// How many features a picture has where dropout is; none where the network has no such place.
    pub fn features(&self) -> Option<usize> {
        match self {
            Self::Small(config) => Some(config.features()),
            Self::MobileFaceNet(_) | Self::IResNet(_) => None,
        }
    }

    /// Builds a trunk with random weights.
    ///
    /// # Panics
    ///
    /// If a setting is too small.
    pub fn init(&self, device: &Device) -> Trunk {
        match self {
            Self::Small(config) => Trunk::Small(config.init(device)),
            Self::MobileFaceNet(config) => Trunk::MobileFaceNet(config.init(device)),
            Self::IResNet(config) => Trunk::IResNet(config.init(device)),
        }
    }
}

/// Maps pictures to embeddings whose directions tell people apart.
///
/// A module like its network: which one it is appears in no name of a parameter, so records hold those of the network.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // A run has one trunk, so its size does not matter.
pub enum Trunk {
    /// See [`NetworkKind::Small`].
    Small(SmallNetwork),
    /// See [`NetworkKind::MobileFaceNet`].
    MobileFaceNet(MobileFaceNet),
    /// See [`NetworkKind::IResNet18`] and its kind.
    IResNet(IResNet),
}

/// Asks the network something, or makes a trunk of what becomes of it.
macro_rules! network {
    ($trunk:expr, $network:ident => $answer:expr) => {
        match $trunk {
            Trunk::Small($network) => $answer,
            Trunk::MobileFaceNet($network) => $answer,
            Trunk::IResNet($network) => $answer,
        }
    };
    ($trunk:expr, $network:ident into $changed:expr) => {
        match $trunk {
            Trunk::Small($network) => Trunk::Small($changed),
            Trunk::MobileFaceNet($network) => Trunk::MobileFaceNet($changed),
            Trunk::IResNet($network) => Trunk::IResNet($changed),
        }
    };
}

impl Trunk {
    /// Embeds pictures.
    ///
    /// # Shapes
    ///
    /// - pictures: `[batch, 3, image_size, image_size]`, values in `[-1, 1]`
    /// - output: `[batch, embedding_size]`
    pub fn forward(&self, pictures: Tensor<4>) -> Tensor<2> {
        network!(self, network => network.forward(pictures))
    }

    /// Embeds pictures in training, with factors on the features before the embedding layer, which dropout draws.
    ///
    /// # Shapes
    ///
    /// - pictures: as of [`forward`](Self::forward)
    /// - factors: `[batch, features]`, see [`TrunkConfig::features`]
    /// - output: `[batch, embedding_size]`
    ///
    /// # Panics
    ///
    /// If there are factors for a network without such features.
    pub fn forward_with(&self, pictures: Tensor<4>, factors: Option<Tensor<2>>) -> Tensor<2> {
        match (self, factors) {
            (Self::Small(network), factors) => network.forward_with(pictures, factors),
            (_, None) => self.forward(pictures),
            (_, Some(_)) => panic!("Trunk: only the network small has features that dropout drops"),
        }
    }
}

/// Not derived: a derived enum puts the name of its variant into the names of all parameters, and so into every record.
impl Module for Trunk {
    fn collect_devices(&self, devices: Devices) -> Devices {
        network!(self, network => network.collect_devices(devices))
    }

    fn fork(self, device: &Device) -> Self {
        network!(self, network into network.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        network!(self, network into network.to_device(device))
    }

    fn train(self) -> Self {
        network!(self, network into network.train())
    }

    fn valid(&self) -> Self {
        network!(self, network into network.valid())
    }

    fn materialize(self) -> Self {
        network!(self, network into network.materialize())
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        network!(self, network => network.visit(visitor));
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        network!(self, network into network.map(mapper))
    }
}

impl ModuleDisplayDefault for Trunk {
    fn content(&self, content: Content) -> Option<Content> {
        network!(self, network => network.content(content))
    }

    fn num_params(&self) -> usize {
        Module::num_params(self)
    }
}

impl ModuleDisplay for Trunk {}

impl fmt::Display for Trunk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        network!(self, network => network.fmt(formatter))
    }
}
