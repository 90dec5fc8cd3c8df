//! What files were when they were written, so that damage is seen before anything is made of them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::files;
use crate::settings::config::{CONFIG, TrainConfig};

/// Size and SHA-256 of the files of a finished run or of a checkpoint, and the settings that they belong to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    config: TrainConfig,
    files: BTreeMap<String, Seal>,
    /// In the file only: the SHA-256 of the text before it. Earlier versions wrote none.
    #[serde(default, skip_serializing)]
    sha256: Option<String>,
}

/// What comes after the text of a manifest that its own SHA-256 is of.
const OWN_SHA256: &str = ",\n  \"sha256\": \"";

/// What a file was when it was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Seal {
    bytes: usize,
    sha256: String,
}

impl Seal {
    fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len(), sha256: sha256(bytes) }
    }
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Manifest {
    /// One that has the settings only.
    ///
    /// # Errors
    ///
    /// If the settings are not JSON.
    pub fn new(config: &TrainConfig) -> Result<Self> {
        let mut manifest = Self { config: config.clone(), files: BTreeMap::new(), sha256: None };
        manifest.add(CONFIG, config.to_json()?.as_bytes());
        Ok(manifest)
    }

    /// The settings.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Puts a file down.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        self.files.insert(name.to_string(), Seal::of(bytes));
    }

    /// Whether it has a file.
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Checks the content of a file.
    ///
    /// # Errors
    ///
    /// If it is not as it was written, or the manifest does not have the file.
    pub fn check(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let written = self.files.get(name).with_context(|| format!("{name} is not in the manifest"))?;
        let found = Seal::of(bytes);
        ensure!(
            found.bytes == written.bytes,
            "{name} is damaged: it had {} bytes when it was written, and has {}",
            written.bytes,
            found.bytes
        );
        ensure!(found == *written, "{name} is damaged: its bytes are not those that were written");
        Ok(())
    }

    /// Checks a file of a folder.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or by [`check`](Self::check).
    pub fn check_file(&self, folder: &Path, name: &str) -> Result<()> {
        let bytes = std::fs::read(folder.join(name)).with_context(|| format!("cannot read {name}"))?;
        self.check(name, &bytes)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is damaged itself.
    pub fn read(path: &Path) -> Result<Self> {
        let read = || {
            let text = std::fs::read_to_string(path)?;
            let mut manifest: Self = serde_json::from_str(&text)?;
            if let Some(written) = manifest.sha256.take() {
                let whole =
                    text.rsplit_once(OWN_SHA256).is_some_and(|(before, _)| sha256(before.as_bytes()) == written);
                ensure!(whole, "it is damaged: its bytes are not those that were written");
            }
            let settings = settings_in(&text).context("it holds no settings")?;
            manifest.check(CONFIG, settings.as_bytes()).context("the settings in it")?;
            anyhow::Ok(manifest)
        };
        read().with_context(|| format!("cannot read {}", path.display()))
    }

    /// Writes it, which says that all its files are there.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        let text = text.strip_suffix("\n}").context("an object ends in a brace")?;
        let own = sha256(text.as_bytes());
        files::write(path, format!("{text}{OWN_SHA256}{own}\"\n}}\n").as_bytes())
    }
}

/// The text of the settings in a manifest, as `config.json` has it: an earlier version wrote fewer of them.
fn settings_in(manifest: &str) -> Option<String> {
    let (_, settings) = manifest.split_once("\n  \"config\": ")?;
    let (settings, _) = settings.split_once("\n  }")?;
    Some(format!("{}\n}}\n", settings.replace("\n  ", "\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_other_length_is_seen() {
        let mut manifest = Manifest::new(&TrainConfig::default()).expect("settings are JSON");
        let content = b"weights".to_vec();
        manifest.add("trunk", &content);
        manifest.check("trunk", &content).expect("as it was written");
        for bit in 0..8 * content.len() {
            let mut flipped = content.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = manifest.check("trunk", &flipped).expect_err("a bit is another");
            assert_eq!(error.to_string(), "trunk is damaged: its bytes are not those that were written");
        }
        let error = manifest.check("trunk", b"weight").expect_err("a byte is missing");
        assert_eq!(error.to_string(), "trunk is damaged: it had 7 bytes when it was written, and has 6");
        assert!(manifest.check("head", b"").is_err());
    }

    #[test]
    fn every_flipped_bit_of_a_manifest_is_seen() {
        let folder = std::env::temp_dir().join(format!("face-embedding-manifest-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        let path = folder.join("manifest.json");
        let manifest = Manifest::new(&TrainConfig::default()).expect("settings are JSON");
        manifest.write(&path).expect("writable");
        assert_eq!(Manifest::read(&path).expect("as it was written"), manifest);
        let whole = std::fs::read(&path).expect("it was written");
        for bit in 0..8 * whole.len() {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, flipped).expect("writable");
            let error = format!("{:#}", Manifest::read(&path).expect_err("a bit is another"));
            assert!(error.contains("manifest.json"), "{error}");
        }
        std::fs::remove_dir_all(&folder).expect("removable");
    }

    /// As a version before there was a choice of networks wrote it.
    #[test]
    fn settings_that_an_earlier_version_did_not_have_are_their_defaults() {
        let new = ["network", "init", "init_sha256", "landmarks", "min_size"].map(|name| format!("\"{name}\": "));
        let is_old = |line: &&str| !new.iter().any(|name| line.contains(name));
        let text = TrainConfig::default().to_json().expect("settings are JSON");
        let old: String = text.lines().filter(is_old).map(|line| format!("{line}\n")).collect();
        let mut manifest = Manifest::new(&TrainConfig::default()).expect("settings are JSON");
        manifest.add(CONFIG, old.as_bytes());
        let text = serde_json::to_string_pretty(&manifest).expect("JSON");
        let text: String = text.lines().filter(is_old).map(|line| format!("{line}\n")).collect();
        assert_eq!(settings_in(&text), Some(old));
        let path = std::env::temp_dir().join(format!("face-embedding-old-manifest-{}.json", std::process::id()));
        std::fs::write(&path, text).expect("writable");
        let read = Manifest::read(&path);
        std::fs::remove_file(&path).expect("it was written");
        assert_eq!(read.expect("it is whole").config(), &TrainConfig::default());
    }
}
