//! `--devices` with Burn servers, which these tests start on this machine.

use std::net::TcpListener;
use std::path::Path;

use burn::server::{RemoteServer, WebSocketTransport};
use burn::tensor::Device;
use face_embedding::training::epoch_table;

use super::network::tensor;
use super::{TINY, fresh, refused, run};

/// A server of so many devices; it lives as long as the process.
fn server(devices: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("ws://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        RemoteServer::new(vec![Device::flex(); devices]).serve(WebSocketTransport::from_listener(listener))
    });
    address
}

/// The losses of the epochs.
fn losses(run: &Path) -> Vec<f64> {
    let rows = epoch_table::read(&run.join("metrics.csv")).expect("one row per epoch");
    rows.into_iter().map(|row| row.loss).collect()
}

/// Ten steps. The network small is computed in another layout there, and rounds in another way.
#[test]
fn a_run_on_two_servers_is_that_on_two_devices_here() {
    let folder = fresh("servers");
    let flags = format!("{TINY} --batch-size 7 --pictures 12 --epochs 1 --lr 0.01 --head-lr 0.01 --clip-norm 5");
    let trained = |name: &str, flags: &str| {
        let output = folder.join(name);
        run(&format!("train {flags} --output {}", output.display())).expect("a tiny run works");
        output
    };
    let (one, other, both) = (server(1), server(1), server(2));
    for (loss, devices) in [
        ("arcface", format!("{one},{other}")),
        ("arcface", format!("flex,{one}")),
        ("softmax", format!("{both},{both}#1")),
    ] {
        let of = |name: &str, devices: &str| trained(name, &format!("{flags} --loss {loss} --devices {devices}"));
        let (here, there) = (of("here", "flex,flex"), of("there", &devices));
        let (expected, found) = (losses(&here), losses(&there));
        assert!((expected[0] - found[0]).abs() < 1e-5 * expected[0], "{devices}: {found:?} for {expected:?}");
        let weights = |run: &Path| tensor(&run.join("trunk.safetensors"), "embedding.weight").1;
        let (expected, found) = (weights(&here), weights(&there));
        let largest = expected.iter().fold(0.0, |largest: f32, weight| largest.max(weight.abs()));
        for (expected, found) in expected.iter().zip(&found) {
            assert!((expected - found).abs() < 1e-4 * largest, "{devices}: {found} for {expected}");
        }
        // The files are those of a run here.
        let line = format!("train --resume --epochs 2 --backend flex --output {}", there.display());
        run(&line).expect("the number of devices is free");
        for run in [here, there] {
            std::fs::remove_dir_all(run).expect("the test folder is writable");
        }
    }
}

#[test]
fn a_server_or_a_device_of_it_that_is_not_there_is_named() {
    let one = server(1);
    let output = fresh("no_server").join("run");
    let error = |devices: &str| refused(&format!("train {TINY} --devices {devices} --output {}", output.display()));
    let second = error(&format!("flex,{one}#1"));
    assert!(second.contains(&format!("devices: {one}#1: the server hosts only 1 device(s)")), "{second}");
    // Nobody listens on a port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let nobody = error(&format!("ws://{free}"));
    assert!(nobody.contains(&format!("devices: ws://{free}: the server cannot be reached")), "{nobody}");
    assert!(!output.exists());
}
