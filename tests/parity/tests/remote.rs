//! Heads whose classes, and losses whose negatives, are on Burn servers. A binary of its own, since serving changes how the
//! whole process reads.

#![allow(missing_docs)]

use burn::remote::RemoteHost;
use burn::server::{RemoteServer, WebSocketTransport};
use burn::tensor::{DType, Device, Int, Tensor};
use burn_losses_kernels::scores::{Comparison, Counted, Normalise, Streaming, scores, scores_reference, streams_on};
use parity::{assert_negatives_elsewhere_are_negatives_here, assert_sharded_equals_whole};
use support::close::{Tolerance, assert_close};
use support::table::host;

/// Two devices of a server on this machine, over a websocket; the server lives as long as the process.
fn two_remote_devices() -> [Device; 2] {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let host = RemoteHost::websocket(&format!("ws://{}", listener.local_addr().expect("an address")));
    std::thread::spawn(move || {
        RemoteServer::new([Device::flex(), Device::flex()]).serve(WebSocketTransport::from_listener(listener))
    });
    [0, 1].map(|index| {
        let device = Device::remote_options(&host).device_index(index).init().expect("the server answers");
        device.autodiff()
    })
}

#[test]
fn shards_on_two_servers_equal_the_whole_head() {
    let [first, second] = two_remote_devices();
    let local = Device::flex().autodiff();

    assert_sharded_equals_whole(&local, &[first.clone(), second.clone()]);
    assert_sharded_equals_whole(&local, &[local.clone(), first.clone()]);
    assert_sharded_equals_whole(&first, &[first.clone(), second]);
}

#[test]
fn negatives_on_two_servers_are_negatives_here() {
    let [first, second] = two_remote_devices();
    let local = Device::flex().autodiff();
    for dtype in [DType::F32, DType::F64] {
        assert_negatives_elsewhere_are_negatives_here(&local, &[first.clone(), local.clone(), second.clone()], dtype);
    }
}

#[test]
fn the_engine_streams_on_a_server() {
    let [device, _] = two_remote_devices();
    // With fusion it runs the reference: see the limits in the README of the kernel crate.
    assert_eq!(streams_on(&device), cfg!(not(feature = "fusion")));

    let numbers =
        |rows: usize| Tensor::<1, Int>::arange(0..rows as i64 * 5, &device).float().sin().reshape([rows, 5]).detach();
    let labels = || Tensor::<1, Int>::from_ints([3, -1, 39], &device);
    let run = |streamed: bool| {
        let (x, w) = (numbers(3).require_grad(), numbers(40).require_grad());
        let streaming = Streaming::new().with_kept_bytes(0).with_block(Some(16));
        let comparison = Comparison { normalise: Normalise::Both, streaming, ..Comparison::new(9.0) };
        let run = if streamed { scores } else { scores_reference };
        let scores = run(x.clone(), w.clone(), labels(), comparison);
        let scores = Tensor::stack::<2>(vec![scores.target, scores.sum], 1);
        let gradients = scores.clone().powi_scalar(2).sum().backward();
        [host(scores), host(x.grad(&gradients).expect("a gradient")), host(w.grad(&gradients).expect("a gradient"))]
    };
    for (actual, expected) in run(true).iter().zip(&run(false)) {
        assert!(expected.iter().any(|&number| number != 0.0));
        assert_close("remote", actual, expected, Tolerance::new(1e-4, 1e-4));
    }
}

#[test]
fn labelled_keys_stream_on_a_server() {
    let [device, _] = two_remote_devices();
    let numbers = |rows: usize| Tensor::<1, Int>::arange(0..rows as i64 * 5, &device).float().cos().reshape([rows, 5]);
    let ours = || Tensor::<1, Int>::from_ints([0, 2, -1], &device);
    let theirs = || {
        let labels: Vec<i64> = (0..40).map(|key| key % 4 - 1).collect();
        Counted::OtherLabels(Tensor::from_data(labels.as_slice(), &device))
    };
    let run = |streamed: bool| {
        let (q, k) = (numbers(3).detach().require_grad(), numbers(40).detach().require_grad());
        let streaming = Streaming::new().with_block(Some(16));
        let comparison = Comparison { counted: theirs(), streaming, ..Comparison::new(2.0) };
        let run = if streamed { scores } else { scores_reference };
        let others = run(q.clone(), k.clone(), ours(), comparison).sum;
        let gradients = others.clone().powi_scalar(2).sum().backward();
        [host(others), host(q.grad(&gradients).expect("a gradient")), host(k.grad(&gradients).expect("a gradient"))]
    };
    for (actual, expected) in run(true).iter().zip(&run(false)) {
        assert!(expected.iter().any(|&number| number != 0.0));
        assert_close("remote", actual, expected, Tolerance::new(1e-5, 1e-5));
    }
}
