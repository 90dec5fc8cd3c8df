//! The networks to choose from and the settings each of them has.

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::range::within;

/// What embeds a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum NetworkKind {
    /// Three residual blocks, for pictures and embeddings of any size.
    #[default]
    Small,
    /// InsightFace's `mbf`: depthwise convolutions.
    MobileFaceNet,
    /// InsightFace's `r18`.
    IResNet18,
    /// InsightFace's `r34`.
    IResNet34,
    /// InsightFace's `r50`.
    IResNet50,
    /// InsightFace's `r100`.
    IResNet100,
}

impl NetworkKind {
    /// The side length that its pictures must have; none if they may have any.
    pub fn fixed_image_size(self) -> Option<usize> {
        (self != Self::Small).then_some(112)
    }
}

impl std::fmt::Display for NetworkKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.to_possible_value() {
            Some(value) => formatter.write_str(value.get_name()),
            None => write!(formatter, "{self:?}"),
        }
    }
}

/// The network and its settings; it fills in its own and refuses those of others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSettings {
    /// What embeds a picture.
    pub network: NetworkKind,
    /// Side length the pictures are brought to, in pixels; in `[16, 256]`, and 112 for all but the small network.
    pub image_size: Option<usize>,
    /// Channels of the first stage; each later one doubles them; in `[2, 256]` (small only).
    pub width: Option<usize>,
    /// Length of an embedding; in `[2, 4096]`.
    pub embedding_size: Option<usize>,
}

impl NetworkSettings {
    /// These settings with the defaults of the network where nothing is given.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or the network does not have it.
    pub fn resolve(&self) -> Result<Self> {
        let Self { network, image_size, width, embedding_size } = *self;
        let embedding_size = embedding_size.unwrap_or(if network == NetworkKind::Small { 64 } else { 512 });
        within("embedding_size", embedding_size, 2..=4096)?;
        let Some(fixed) = network.fixed_image_size() else {
            let (image_size, width) = (image_size.unwrap_or(40), width.unwrap_or(16));
            within("image_size", image_size, 16..=256)?;
            within("width", width, 2..=256)?;
            return Ok(Self {
                network,
                image_size: Some(image_size),
                width: Some(width),
                embedding_size: Some(embedding_size),
            });
        };
        if let Some(width) = width {
            bail!("width: the network {network} has no such setting (got {width}); leave it out");
        }
        let image_size = image_size.unwrap_or(fixed);
        ensure!(image_size == fixed, "image_size: the network {network} takes {fixed}, got {image_size}; leave it out");
        Ok(Self { network, image_size: Some(image_size), width: None, embedding_size: Some(embedding_size) })
    }

    /// Side length of the pictures.
    ///
    /// # Panics
    ///
    /// If the settings are not [resolved](Self::resolve).
    pub fn image_size(&self) -> usize {
        self.image_size.expect("image_size is resolved")
    }

    /// Length of an embedding.
    ///
    /// # Panics
    ///
    /// If the settings are not [resolved](Self::resolve).
    pub fn embedding_size(&self) -> usize {
        self.embedding_size.expect("embedding_size is resolved")
    }
}

impl std::fmt::Display for NetworkSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.network)?;
        if let Some(width) = self.width {
            write!(formatter, " of width {width}")?;
        }
        write!(formatter, ", embeddings of {} numbers", self.embedding_size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(settings: NetworkSettings) -> String {
        settings.resolve().expect_err("the network does not have it").to_string()
    }

    #[test]
    fn a_network_brings_its_sizes_and_refuses_those_of_others() {
        let small = NetworkSettings::default().resolve().expect("all defaults");
        assert_eq!((small.image_size(), small.width, small.embedding_size()), (40, Some(16), 64));
        let of = NetworkSettings { network: NetworkKind::IResNet18, ..NetworkSettings::default() };
        let resolved = of.resolve().expect("all defaults");
        assert_eq!((resolved.image_size(), resolved.width, resolved.embedding_size()), (112, None, 512));
        assert_eq!(resolved.resolve().expect("the same again"), resolved);

        let error = refused(NetworkSettings { width: Some(16), ..of.clone() });
        assert_eq!(error, "width: the network iresnet18 has no such setting (got 16); leave it out");
        let error = refused(NetworkSettings { image_size: Some(64), ..of.clone() });
        assert_eq!(error, "image_size: the network iresnet18 takes 112, got 64; leave it out");
        let error = refused(NetworkSettings { embedding_size: Some(1), ..of });
        assert_eq!(error, "embedding_size: must be in [2, 4096], got 1");
    }

    #[test]
    fn names_are_the_same_on_the_command_line_and_in_json() {
        for network in NetworkKind::value_variants() {
            assert_eq!(serde_json::to_string(network).expect("a string"), format!("\"{network}\""));
        }
        assert_eq!(NetworkKind::IResNet100.to_string(), "iresnet100");
        assert_eq!(NetworkKind::MobileFaceNet.to_string(), "mobilefacenet");
    }
}
