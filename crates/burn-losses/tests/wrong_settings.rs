//! A setting out of its range is told at the line that has it, and not somewhere in this library.

use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use burn_losses::*;

#[test]
fn a_wrong_setting_is_told_where_it_stands() {
    let device = &Device::default();
    let centers = CentersConfig::new().with_labels(LabelPolicy::new().with_ignore_label(Some(1 << 40)));
    let distance = Distance::Minkowski(0.0);
    let wrong: [(&str, &dyn Fn()); 18] = [
        ("scale", &|| drop(ArcFaceConfig::new(4, 8).with_scale(-1.0).init(device))),
        ("margin of ArcFace", &|| drop(ArcFaceConfig::new(4, 8).with_margin(28.6).init(device))),
        ("margin of CosFace", &|| drop(CosFaceConfig::new(4, 8).with_margin(1e9).init(device))),
        ("margin of a head chosen at run time", &|| {
            drop(AnyHeadConfig::from(CosFaceConfig::new(4, 8).with_margin(1e9)).init(device));
        }),
        ("classes", &|| drop(CosFaceConfig::new(0, 8).init(device))),
        ("sample rate", &|| {
            CosFaceConfig::new(4, 8).init(device).centers.set_sample_rate(2.0);
        }),
        ("shards", &|| drop(ShardedHead::new(CosFaceConfig::new(4, 8).init(device), &[]))),
        ("ignored label", &|| drop(CosFaceConfig::new(4, 8).with_centers(centers.clone()).init(device))),
        ("temperature of InfoNCE", &|| drop(InfoNceLossConfig::new().with_temperature(0.0).init(device))),
        ("temperature of SupCon", &|| drop(SupConLossConfig::new().with_temperature(0.0).init(device))),
        ("distance of a loss", &|| drop(TripletLossConfig::new().with_distance(distance).init(device))),
        ("distance of a miner", &|| drop(BatchHardMinerConfig::new().with_distance(distance).init(device))),
        ("update rate", &|| drop(CenterLossConfig::new(4, 8).with_update_rate(2.0).init(device))),
        ("scale of proxies", &|| drop(ProxyNcaLossConfig::new(4, 8).with_scale(-1.0).init(device))),
        ("smoothing", &|| drop(CrossEntropyLossConfig::new().with_label_smoothing(2.0).init(device))),
        ("strength of a penalty", &|| drop(L1PenaltyConfig::new(-1.0).init(device))),
        ("share of a penalty", &|| drop(ElasticNetPenaltyConfig::new(1.0).with_l1_ratio(2.0).init(device))),
        ("quantile", &|| drop(QuantileLossConfig::new().with_quantile(2.0).init(device))),
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
