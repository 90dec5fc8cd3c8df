//! `--devices`: the devices that a training is spread over.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::backend::BackendKind;

/// What the address of a Burn server begins with.
const WEBSOCKET: &str = "ws://";

/// Most devices of a training.
const MOST: usize = 64;

/// A device by its name: `flex`, `cuda:1`, or `ws://gpu:3000` and `ws://gpu:3000#1` for one of a Burn server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum DeviceName {
    /// One of this machine.
    Local {
        /// Its backend.
        backend: BackendKind,
        /// Which of the devices of the backend; 0 is the default one.
        index: usize,
    },
    /// One of a Burn server; needs the Cargo feature `remote`.
    Server {
        /// Where the server is.
        address: String,
        /// Which of the devices that the server has.
        index: usize,
    },
}

impl DeviceName {
    /// Connects it.
    ///
    /// # Errors
    ///
    /// If it is not there, or not in this build; the message names it.
    pub fn device(&self) -> Result<Device> {
        let device = match self {
            Self::Local { backend, index } => backend.device_at(*index),
            Self::Server { address, index } => of_server(address, *index),
        };
        device.with_context(|| format!("devices: {self}"))
    }
}

#[cfg(feature = "remote")]
fn of_server(address: &str, index: usize) -> Result<Device> {
    let host = burn::tensor::remote::RemoteHost::websocket(address);
    Ok(Device::remote_options(&host).device_index(index).init()?)
}

#[cfg(not(feature = "remote"))]
fn of_server(_: &str, _: usize) -> Result<Device> {
    anyhow::bail!(
        "devices of servers are not in this build; add them with: cargo run --release -p face-embedding --features remote"
    )
}

/// Checks how many there are.
///
/// # Errors
///
/// If there is none, or there are too many.
pub(super) fn check(names: &[DeviceName]) -> Result<()> {
    let count = names.len();
    ensure!((1..=MOST).contains(&count), "devices: must be from 1 to {MOST} devices, got {count}");
    Ok(())
}

/// The names in a row, as the flag takes them.
pub fn in_a_row(names: &[DeviceName]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

impl fmt::Display for DeviceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { backend, index: 0 } => write!(formatter, "{backend}"),
            Self::Local { backend, index } => write!(formatter, "{backend}:{index}"),
            Self::Server { address, index: 0 } => write!(formatter, "{address}"),
            Self::Server { address, index } => write!(formatter, "{address}#{index}"),
        }
    }
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse().map_err(|_| format!("{name}: {text:?} must be the number of a device, from 0 on"))
        };
        if let Some(server) = name.strip_prefix(WEBSOCKET) {
            let (server, index) = server.split_once('#').unwrap_or((server, "0"));
            if server.is_empty() {
                return Err(format!("{name}: has no address; expected {WEBSOCKET}HOST:PORT"));
            }
            return Ok(Self::Server { address: format!("{WEBSOCKET}{server}"), index: number(index)? });
        }
        let (backend, index) = name.split_once(':').unwrap_or((name, "0"));
        let backend = BackendKind::from_str(backend, false).map_err(|_| {
            let known = BackendKind::value_variants().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!(
                "{name}: no such device; expected one of {known}, with :1 for the second of its devices, or \
                 {WEBSOCKET}HOST:PORT for a Burn server, with #1 for the second of its devices"
            )
        })?;
        Ok(Self::Local { backend, index: number(index)? })
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for DeviceName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let local = |backend, index| DeviceName::Local { backend, index };
        let server = |index| DeviceName::Server { address: "ws://gpu:3000".to_string(), index };
        for (text, name) in [
            ("flex", local(BackendKind::Flex, 0)),
            ("cuda:3", local(BackendKind::Cuda, 3)),
            ("ws://gpu:3000", server(0)),
            ("ws://gpu:3000#1", server(1)),
        ] {
            assert_eq!(text.parse(), Ok(name.clone()), "{text}");
            assert_eq!(name.to_string(), text);
            assert_eq!(serde_json::to_string(&name).expect("text"), format!("{text:?}"));
        }
        assert_eq!("cuda:0".parse(), Ok(local(BackendKind::Cuda, 0)));
        for (text, part) in [
            ("gpu", "gpu: no such device; expected one of flex, ndarray"),
            ("cuda:one", "\"one\" must be the number of a device"),
            ("ws://", "has no address"),
            ("ws://gpu:3000#-1", "\"-1\" must be the number of a device"),
        ] {
            let error = text.parse::<DeviceName>().expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }

    #[cfg(feature = "flex")]
    #[test]
    fn a_device_that_is_not_there_is_named() {
        let name: DeviceName = "flex:1".parse().expect("a name");
        let error = format!("{:#}", name.device().expect_err("Flex is one device"));
        assert_eq!(error, "devices: flex:1: the backend flex has 1 device, from number 0 on; there is no number 1");
    }

    #[cfg(not(feature = "remote"))]
    #[test]
    fn a_server_needs_its_feature() {
        let name: DeviceName = "ws://127.0.0.1:3000".parse().expect("a name");
        let error = format!("{:#}", name.device().expect_err("it is not in this build"));
        assert!(error.starts_with("devices: ws://127.0.0.1:3000: ") && error.ends_with("--features remote"), "{error}");
    }
}
