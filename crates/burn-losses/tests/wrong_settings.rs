//! A setting out of its range is told at the line that has it, and not somewhere in this library.

use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use burn_losses::*;

fn made<T>(_: T) {}

#[test]
fn a_wrong_setting_is_told_where_it_stands() {
    let device = &Device::default();
    let centers = CentersConfig::new().with_labels(LabelPolicy::new().with_ignore_label(Some(1 << 40)));
    let distance = Distance::Minkowski(0.0);
    let wrong: [(&str, &dyn Fn()); 18] = [
        ("scale", &|| made(ArcFaceConfig::new(4, 8).with_scale(-1.0).init(device))),
        ("margin of ArcFace", &|| made(ArcFaceConfig::new(4, 8).with_margin(28.6).init(device))),
        ("margin of CosFace", &|| made(CosFaceConfig::new(4, 8).with_margin(1e9).init(device))),
        ("margin of a head chosen at run time", &|| {
            made(AnyHeadConfig::from(CosFaceConfig::new(4, 8).with_margin(1e9)).init(device));
        }),
        ("classes", &|| made(CosFaceConfig::new(0, 8).init(device))),
        ("sample rate", &|| {
            CosFaceConfig::new(4, 8).init(device).centers.set_sample_rate(2.0);
        }),
        ("shards", &|| made(ShardedHead::new(CosFaceConfig::new(4, 8).init(device), &[]))),
        ("ignored label", &|| made(CosFaceConfig::new(4, 8).with_centers(centers.clone()).init(device))),
        ("temperature of InfoNCE", &|| made(InfoNceLossConfig::new().with_temperature(0.0).init(device))),
        ("temperature of SupCon", &|| made(SupConLossConfig::new().with_temperature(0.0).init(device))),
        ("distance of a loss", &|| made(TripletLossConfig::new().with_distance(distance).init(device))),
        ("distance of a miner", &|| made(BatchHardMinerConfig::new().with_distance(distance).init(device))),
        ("update rate", &|| made(CenterLossConfig::new(4, 8).with_update_rate(2.0).init(device))),
        ("scale of proxies", &|| made(ProxyNcaLossConfig::new(4, 8).with_scale(-1.0).init(device))),
        ("smoothing", &|| made(CrossEntropyLossConfig::new().with_label_smoothing(2.0).init(device))),
        ("strength of a penalty", &|| made(L1PenaltyConfig::new(-1.0).init(device))),
        ("share of a penalty", &|| made(ElasticNetPenaltyConfig::new(1.0).with_l1_ratio(2.0).init(device))),
        ("quantile", &|| made(QuantileLossConfig::new().with_quantile(2.0).init(device))),
    ];

    let place = Arc::new(Mutex::new(String::new()));
    let noted = place.clone();
    set_hook(Box::new(move |panic| {
        *noted.lock().unwrap() = panic.location().map(ToString::to_string).unwrap_or_default();
    }));
    let told = wrong.map(|(what, make)| {
        let taken = catch_unwind(AssertUnwindSafe(make)).is_ok();
        (what, taken, take(&mut *place.lock().unwrap()))
    });
    drop(take_hook());
    for (what, taken, place) in told {
        assert!(!taken, "{what}: is taken");
        assert!(place.starts_with(file!()), "{what}: told at {place}");
    }
}
