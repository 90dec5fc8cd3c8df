use burn::module::{Module, Param};
use burn::optim::{GradientsParams, SgdConfig};
use burn::store::ModuleRecord;
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_losses::heads::{
    ArcFaceConfig, CentersConfig, CosFaceConfig, CosFaceRule, ShardedHead, SubCenterArcFaceConfig,
};
use parity::assert_sharded_equals_whole;
use support::table::host;

/// The single-precision device of every backend.
fn devices() -> Vec<Device> {
    crate::backends_and_flex()
        .into_iter()
        .filter(|backend| !backend.is_double())
        .map(|backend| backend.device)
        .collect()
}

#[test]
fn shards_on_one_device_and_on_several_backends_equal_the_whole_head() {
    let devices = devices();
    for home in &devices {
        for other in &devices {
            assert_sharded_equals_whole(home, &[home.clone(), other.clone()]);
            assert_sharded_equals_whole(home, &[other.clone(), home.clone(), other.clone()]);
        }
    }
    assert_sharded_equals_whole(&devices[0], &devices);
}

fn weights(head: &ShardedHead<CosFaceRule>) -> Vec<f64> {
    head.centers.iter().flat_map(|block| host(block.weight.val())).collect()
}

#[test]
fn an_optimizer_steps_every_shard_on_its_device() {
    let devices = devices();
    for home in &devices {
        let head = CosFaceConfig::new(7, 4).with_scale(8.0).init(home);
        let mut sharded = ShardedHead::new(head.clone(), &devices);
        let mut whole = ShardedHead::new(head, std::slice::from_ref(home));
        let mut optimizers = [SgdConfig::new().init(), SgdConfig::new().init()];
        let before = weights(&whole);
        let embeddings = Tensor::<2>::random([5, 4], Distribution::Normal(0.0, 1.0), home);
        let labels = || Tensor::<1, Int>::from_ints([0, 6, 3, 3, 1], home);
        for _ in 0..3 {
            let loss = sharded.forward(embeddings.clone(), labels());
            let gradients = GradientsParams::from_grads(loss.backward(), &sharded);
            sharded = optimizers[0].step(0.1, sharded, gradients);
            let loss = whole.forward(embeddings.clone(), labels());
            let gradients = GradientsParams::from_grads(loss.backward(), &whole);
            whole = optimizers[1].step(0.1, whole, gradients);
        }
        for (shard, device) in sharded.centers.iter().zip(&devices) {
            assert_eq!(&shard.weight.val().device(), device);
        }
        let (spread, expected) = (weights(&sharded), weights(&whole));
        assert!(before.iter().zip(&expected).any(|(a, b)| (a - b).abs() > 1e-3));
        for (a, b) in spread.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
}

#[test]
fn a_record_loads_into_any_number_of_shards_and_into_one_head() {
    let device = &devices()[0];
    let times = |count: usize| vec![device.clone(); count];
    let fresh = || CosFaceConfig::new(7, 4).init(device);
    let saved = ShardedHead::new(fresh(), &times(2));
    let expected = weights(&saved);
    let record = || ModuleRecord::from_bytes(saved.clone().into_record().into_bytes().unwrap()).unwrap();

    for count in [1, 2, 3, 7] {
        let loaded = ShardedHead::from_record(fresh(), record(), &times(count)).unwrap();
        assert_eq!(loaded.centers.len(), count);
        assert_eq!(weights(&loaded), expected);
        assert_eq!(host(loaded.unshard(device).centers.weight.val()), expected);
    }
    // A head that samples saves its draws beside its centers.
    let sampling = || {
        let centers = CentersConfig::new().with_sample_rate(0.3);
        CosFaceConfig::new(7, 4).with_centers(centers).init(device)
    };
    let saved = ShardedHead::new(sampling(), &times(3));
    let record = saved.clone().into_record();
    let loaded = ShardedHead::from_record(sampling(), record, &times(2)).unwrap();
    assert_eq!(weights(&loaded), weights(&saved));
}

#[test]
fn an_empty_batch_has_loss_zero_and_a_gradient_on_every_shard() {
    let devices = devices();
    let sharded = ShardedHead::new(ArcFaceConfig::new(7, 4).init(&devices[0]), &devices);
    let loss = sharded.forward(Tensor::zeros([0, 4], &devices[0]), Tensor::<1, Int>::zeros([0], &devices[0]));
    assert_eq!(host(loss.clone()), [0.0]);
    let gradients = loss.backward();
    for shard in &sharded.centers {
        let gradient = shard.weight.val().grad(&gradients).expect("a gradient of zeros");
        assert!(host(gradient).iter().all(|&slope| slope == 0.0));
    }
}

#[test]
fn heads_that_never_were_in_one_place() {
    let devices = devices();
    let shards = devices.iter().map(|device| CosFaceConfig::new(3, 2).init(device)).collect();
    let sharded = ShardedHead::from_shards(shards);
    assert_eq!(sharded.classes(), 3 * devices.len());

    let labels = Tensor::<1, Int>::from_ints([(sharded.classes() - 1) as i32], &devices[0]);
    let loss = sharded.forward(Tensor::ones([1, 2], &devices[0]), labels.clone());
    let whole = sharded.unshard(&devices[0]).forward(Tensor::ones([1, 2], &devices[0]), labels);
    assert!((host(loss)[0] - host(whole)[0]).abs() < 1e-4);
}

#[test]
#[should_panic(expected = "ShardedHead: shard 1 must have the embedding_dim of the first")]
fn shards_of_other_embeddings_are_rejected() {
    let device = &devices()[0];
    let wide = CosFaceConfig::new(3, 4).init(device);
    let mut narrow = CosFaceConfig::new(3, 2).init(device);
    narrow.centers.weight = Param::from_tensor(Tensor::zeros([3, 2], device));
    ShardedHead::from_shards(vec![wide, narrow]);
}

#[test]
#[should_panic(expected = "ShardedHead: shard 1 must have the sub_centers of the first")]
fn shards_of_other_sub_centers_are_rejected() {
    let shard = |sub_centers| SubCenterArcFaceConfig::new(3, 4).with_sub_centers(sub_centers).init(&devices()[0]);
    ShardedHead::from_shards(vec![shard(2), shard(3)]);
}

#[test]
fn shards_that_sample_draw_differently_and_find_every_own_class() {
    for device in devices() {
        let centers = CentersConfig::new().with_sample_rate(0.2).with_seed(3);
        let head = CosFaceConfig::new(100, 4).with_scale(4.0).with_centers(centers).init(&device);
        let sharded = ShardedHead::new(head, &[device.clone(), device.clone()]);
        let embeddings = Tensor::<2>::random([2, 4], Distribution::Normal(0.0, 1.0), &device);
        for _ in 0..3 {
            let loss = sharded.forward(embeddings.clone(), Tensor::<1, Int>::from_ints([7, 93], &device));
            let gradients = loss.backward();
            let moved: Vec<Vec<usize>> = sharded
                .centers
                .iter()
                .map(|shard| {
                    let gradient = host(shard.weight.val().grad(&gradients).expect("a gradient"));
                    let rows = gradient.chunks(4).enumerate();
                    rows.filter(|(_, row)| row.iter().any(|&slope| slope != 0.0)).map(|(class, _)| class).collect()
                })
                .collect();
            assert!(moved[0].contains(&7) && moved[1].contains(&43), "{moved:?}");
            assert!(moved.iter().all(|classes| (10..=12).contains(&classes.len())), "{moved:?}");
            let drawn = |shard: usize, own: usize| -> Vec<usize> {
                moved[shard].iter().copied().filter(|&class| class != own).collect()
            };
            assert_ne!(drawn(0, 7), drawn(1, 43));
        }
    }
}

#[test]
fn frozen_centers_stay_frozen() {
    let device = &devices()[0];
    let mut head = CosFaceConfig::new(6, 2).init(device);
    head.centers.weight = head.centers.weight.clone().set_require_grad(false);
    let sharded = ShardedHead::new(head, &[device.clone(), device.clone()]);
    assert!(sharded.centers.iter().all(|shard| !shard.weight.is_require_grad()));
    assert!(!sharded.unshard(device).centers.weight.is_require_grad());
}

#[cfg(all(feature = "flex", feature = "ndarray"))]
#[test]
fn half_precision_goes_to_shards_that_do_not_have_it() {
    let devices = devices();
    let (ndarray, flex) = (&devices[0], &devices[1]);
    let head = CosFaceConfig::new(6, 2).with_scale(8.0).init(flex);
    let sharded = ShardedHead::new(head.clone(), &[ndarray.clone(), flex.clone()]);
    let half = burn::tensor::DType::F16;
    let embeddings = Tensor::<2>::from_floats([[1.0, 0.5], [-0.25, 2.0]], flex).cast(half);
    let labels = || Tensor::<1, Int>::from_ints([0, 5], flex);

    let spread = sharded.forward_no_reduction(embeddings.clone(), labels());
    assert_eq!(spread.dtype(), half);
    assert_eq!(sharded.logits(embeddings.clone()).dtype(), half);
    let whole = host(head.forward_no_reduction(embeddings, labels()));
    for (a, b) in host(spread).iter().zip(whole) {
        assert!((a - b).abs() < 1e-2, "{a} {b}");
    }
}
