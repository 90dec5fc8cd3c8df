//! What the log says of a backend that is on in Burn only.

#![allow(missing_docs)]

use std::sync::Mutex;

use burn::tensor::Device;
use burn_losses::heads::{ArcFaceConfig, CosFaceConfig};

struct Lines(Mutex<Vec<String>>);

impl log::Log for Lines {
    fn enabled(&self, _metadata: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

static LINES: Lines = Lines(Mutex::new(Vec::new()));

#[test]
fn a_backend_without_its_feature_is_named_once() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    for _ in 0..2 {
        ArcFaceConfig::new(3, 2).init(&Device::flex().autodiff());
        CosFaceConfig::new(3, 2).init(&Device::flex());
    }
    let lines = LINES.0.lock().unwrap();
    let lines: Vec<_> = lines.iter().filter(|line| line.contains("burn-losses")).collect();
    if cfg!(feature = "flex") {
        assert!(lines.is_empty(), "{lines:?}");
    } else {
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("ArcFace on Device<"), "{lines:?}");
    }
}
