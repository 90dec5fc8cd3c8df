//! Negatives on other devices against the same rows on one, for tests on devices of this process and on servers.

use burn::tensor::{DType, Device, Gradients, Int, Tensor, TensorData};
use burn_losses::mining::PairMasks;
use burn_losses::pairs::{
    DecoupledContrastiveLossConfig, InfoNceLossConfig, PairLoss, Pairs, SigLipLossConfig, TemperatureMode,
};
use support::close::{Tolerance, assert_close};
use support::table::host;

const DIM: usize = 6;
const QUERIES: usize = 4;
/// What the queries are about.
const IDENTITIES: [i64; QUERIES] = [5, 6, 5, 8];

/// Losses of queries on `home` with keys there and on `devices` equal those with all keys on `home`, and so do the gradients, each of
/// which is on the device of its rows. All devices with autodiff.
///
/// # Panics
///
/// If they do not.
pub fn assert_negatives_elsewhere_are_negatives_here(home: &Device, devices: &[Device], dtype: DType) {
    for with_identities in [false, true] {
        let info_nce =
            InfoNceLossConfig::new().with_temperature(0.4).with_temperature_mode(TemperatureMode::Learned).init(home);
        let log_scale = info_nce.temperature.log_scale.as_ref().expect("it is learned").val();
        check("InfoNceLoss", home, devices, (dtype, with_identities), &info_nce, &[log_scale]);
        let sig_lip = SigLipLossConfig::new().with_temperature(0.4).with_bias(-1.0).init(home);
        let log_scale = sig_lip.temperature.log_scale.as_ref().expect("it is learned").val();
        let bias = sig_lip.learned_bias.as_ref().expect("it is learned").val();
        check("SigLipLoss", home, devices, (dtype, with_identities), &sig_lip, &[log_scale, bias]);
        let decoupled = DecoupledContrastiveLossConfig::new().with_temperature(0.5).init(home);
        check("DecoupledContrastiveLoss", home, devices, (dtype, with_identities), &decoupled, &[]);
    }
    spread_over_all(home, devices, dtype);
}

fn tolerance(dtype: DType) -> Tolerance {
    if dtype == DType::F64 { Tolerance::new(1e-12, 1e-12) } else { Tolerance::new(1e-5, 1e-6) }
}

/// Labels of the rows on a device: identities, of which one is none.
fn labels_of(number: usize) -> Vec<i64> {
    let all = [[6, -1, 5, 9, 8], [5, 5, 1, -1, 7], [2, 8, 6, 3, -1]];
    all[number % all.len()][..3 + number % 3].to_vec()
}

fn check<L: PairLoss>(
    name: &str,
    home: &Device,
    devices: &[Device],
    (dtype, with_identities): (DType, bool),
    loss: &L,
    trained: &[Tensor<1>],
) {
    let options = |device: &Device| (device.clone(), dtype);
    let integers = |labels: &[i64], device: &Device| Tensor::<1, Int>::from_data(TensorData::from(labels), device);
    let run = |spread: bool| {
        let (queries, keys) = (leaf(QUERIES, 1, &options(home)), leaf(QUERIES, 2, &options(home)));
        let there = |number: usize| {
            let device = if spread { &devices[number] } else { home };
            (leaf(labels_of(number).len(), 3 + number, &options(device)), integers(&labels_of(number), device))
        };
        let others: Vec<(Tensor<2>, Tensor<1, Int>)> = (0..devices.len()).map(there).collect();
        let pairs = if spread {
            let pairs = Pairs::aligned(queries.clone(), keys.clone());
            let pairs = if with_identities { pairs.with_identities(integers(&IDENTITIES, home)) } else { pairs };
            pairs.with_negatives_elsewhere(others.clone())
        } else {
            let of_others: Vec<i64> = (0..devices.len()).flat_map(labels_of).collect();
            let rows = others.iter().map(|(rows, _)| rows.clone());
            let references = Tensor::cat(std::iter::once(keys.clone()).chain(rows).collect(), 0);
            let labels: Vec<i64> = IDENTITIES.into_iter().chain(of_others).collect();
            let masks = masks(&labels, with_identities, home);
            let references = (references, integers(&labels, home));
            Pairs::with_references(queries.clone(), integers(&IDENTITIES, home), references).with_masks(masks)
        };
        let losses = loss.forward_pairs_no_reduction(&pairs);
        assert_eq!(&losses.device(), home);
        let weights = Tensor::<1>::from_data(TensorData::from([0.5, 1.5, -0.3, 0.8]), (home, dtype));
        let gradients = (losses.clone() * weights).sum().backward();
        let leaves = [queries, keys].into_iter().chain(others.into_iter().map(|(rows, _)| rows));
        let slopes = leaves.map(|leaf| of(&leaf, &gradients)).chain(trained.iter().map(|leaf| of(leaf, &gradients)));
        std::iter::once(host(losses)).chain(slopes).collect::<Vec<_>>()
    };
    for (place, (spread, whole)) in run(true).iter().zip(&run(false)).enumerate() {
        assert!(whole.iter().any(|number| number.abs() > 1e-3), "{name} {place}: {whole:?}");
        assert_close(&format!("{name} {with_identities} {place} {dtype:?}"), spread, whole, tolerance(dtype));
    }
}

/// Which references are a pair with the queries: the key at its place, and all others or those of another identity.
fn masks(labels: &[i64], with_identities: bool, device: &Device) -> PairMasks {
    let shape = [QUERIES, labels.len()];
    let mask = |is: &dyn Fn(usize, usize) -> bool| {
        let all = (0..QUERIES).flat_map(|query| (0..labels.len()).map(move |key| (query, key)));
        let all: Vec<bool> = all.map(|(query, key)| is(query, key)).collect();
        Tensor::from_data(TensorData::new(all, shape), device)
    };
    let is_negative = |query: usize, key: usize| {
        query != key && labels[key] >= 0 && !(with_identities && labels[key] == IDENTITIES[query])
    };
    PairMasks { positive: mask(&|query, key| query == key), negative: mask(&is_negative) }
}

/// A batch in parts on all devices, each of which has the keys of the others as negatives, is the batch on one.
fn spread_over_all(home: &Device, devices: &[Device], dtype: DType) {
    let config = InfoNceLossConfig::new().with_temperature(0.3);
    let part =
        |number: usize, seed: usize, device: &Device| leaf(2 + number % 2, seed + number, &(device.clone(), dtype));
    let all = |seed: usize| -> Vec<Tensor<2>> {
        devices.iter().enumerate().map(|(number, device)| part(number, seed, device)).collect()
    };
    let (queries, keys) = (all(20), all(40));
    let mut sum = Tensor::<1>::zeros([1], (home, dtype));
    for (number, device) in devices.iter().enumerate() {
        let others = keys
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number)
            .map(|(_, keys)| (keys.clone(), Tensor::<1, Int>::zeros([keys.dims()[0]], &keys.device())));
        let pairs =
            Pairs::aligned(queries[number].clone(), keys[number].clone()).with_negatives_elsewhere(others.collect());
        let losses = config.init(device).forward_pairs_no_reduction(&pairs);
        sum = sum + losses.sum().to_device(home);
    }
    let gradients = sum.clone().backward();

    let here = |seed: usize| -> Vec<Tensor<2>> { (0..devices.len()).map(|number| part(number, seed, home)).collect() };
    let (whole_queries, whole_keys) = (here(20), here(40));
    let pairs = Pairs::aligned(Tensor::cat(whole_queries.clone(), 0), Tensor::cat(whole_keys.clone(), 0));
    let whole = config.init(home).forward_pairs_no_reduction(&pairs).sum();
    let whole_gradients = whole.clone().backward();
    assert_close("all", &host(sum), &host(whole), tolerance(dtype));
    let parts = queries.iter().zip(&whole_queries).chain(keys.iter().zip(&whole_keys));
    for (part, whole) in parts {
        assert_close("part", &of(part, &gradients), &of(whole, &whole_gradients), tolerance(dtype));
    }
}

/// The gradient of a leaf, which must be on its device.
fn of<const D: usize>(leaf: &Tensor<D>, gradients: &Gradients) -> Vec<f64> {
    let gradient = leaf.grad(gradients).expect("a gradient");
    assert_eq!(gradient.device(), leaf.device().without_autodiff());
    host(gradient)
}

/// Numbers without a pattern.
fn leaf(rows: usize, seed: usize, (device, dtype): &(Device, DType)) -> Tensor<2> {
    let number = |place: usize| ((place * 7919 + seed * 104_729 + 1) as f64 * 0.618_033_988_7).fract() - 0.5;
    let numbers: Vec<f64> = (0..rows * DIM).map(number).collect();
    Tensor::<2>::from_data(TensorData::new(numbers, [rows, DIM]), (device, *dtype)).require_grad()
}
