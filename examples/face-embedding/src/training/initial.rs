//! The trunk that a run begins with when it is told to, by `init`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;

use super::manifest::sha256;
use super::run_directory::{RunDirectory, TRUNK};
use crate::model::trunk::{Trunk, TrunkConfig};
use crate::settings::config::TrainConfig;

/// Reads the trunk that `init` names, if it names one, and writes into the settings which it was. A run that goes on
/// from a checkpoint needs neither.
///
/// # Errors
///
/// If it cannot be read, does not fit the network, or is not the one of `init_sha256`.
pub fn initial_trunk(config: &mut TrainConfig, device: &Device) -> Result<Option<Trunk>> {
    let Some(init) = config.init.clone() else { return Ok(None) };
    let is_run = init.is_dir();
    let file = if is_run { init.join(TRUNK) } else { init };
    let digest = digest_of(&file)?;
    if let Some(expected) = &config.init_sha256 {
        ensure!(
            *expected == digest,
            "init: {} is not the file of init_sha256, {expected}: it has {digest}",
            file.display()
        );
    }
    let trunk = if is_run { of_run(config, device)? } else { of_file(config, &file, device)? };
    ensure!(digest_of(&file)? == digest, "init: {} was changed while it was read", file.display());
    config.init_sha256 = Some(digest);
    Ok(Some(trunk))
}

fn digest_of(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).with_context(|| format!("init: cannot read {}", file.display()))?;
    Ok(sha256(&bytes))
}

fn of_run(config: &TrainConfig, device: &Device) -> Result<Trunk> {
    let run = RunDirectory::open(config.init.as_deref()).context("init")?;
    let (theirs, own) = (run.finished().context("init")?.network, &config.network);
    ensure!(
        theirs == *own,
        "init: {} has the network {theirs}, pictures of {}; asked for is {own}, pictures of {}",
        run.path().display(),
        theirs.image_size(),
        own.image_size()
    );
    run.load_trunk(config, device).context("init")
}

fn of_file(config: &TrainConfig, file: &Path, device: &Device) -> Result<Trunk> {
    TrunkConfig::of(&config.network)
        .init(device)
        .with_weights_of(file)
        .with_context(|| format!("init: no weights of the network {}", config.network))
}
