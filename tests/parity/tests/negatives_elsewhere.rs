use burn::tensor::{Int, Tensor};
use burn_losses::pairs::{InfoNceLossConfig, Pairs, SupConLossConfig};
use parity::{assert_negatives_elsewhere_are_negatives_here, backends};
use support::table::host;

#[test]
fn negatives_on_one_device_and_on_several_backends_are_negatives_here() {
    let all = crate::backends_and_flex();
    for home in &all {
        for other in all.iter().filter(|other| other.dtype == home.dtype) {
            let [home_device, other_device] = [home, other].map(|backend| backend.device.clone());
            let devices = [other_device.clone(), home_device.clone(), other_device];
            assert_negatives_elsewhere_are_negatives_here(&home_device, &devices, home.dtype);
        }
    }
}

#[test]
fn empty_slots_and_no_rows_are_no_negatives() {
    for backend in backends() {
        let rows = |numbers: [[f64; 2]; 2]| Tensor::<2>::from_data(numbers, (&backend.device, backend.dtype));
        let pairs = || Pairs::aligned(rows([[1.0, 0.0], [0.0, 2.0]]), rows([[0.6, 0.8], [0.0, 1.0]]));
        let loss = InfoNceLossConfig::new().init(&backend.device);
        let nothing = (
            Tensor::<2>::zeros([0, 2], (&backend.device, backend.dtype)),
            Tensor::<1, Int>::zeros([0], &backend.device),
        );
        let slots = (rows([[f64::NAN, 0.0], [1.0, 1.0]]), Tensor::<1, Int>::full([2], -1, &backend.device));
        let losses = |pairs: Pairs| host(loss.forward_pairs_no_reduction(&pairs));
        assert_eq!(losses(pairs().with_negatives_elsewhere(vec![nothing])), losses(pairs()), "{}", backend.name);
        let with_slots = losses(pairs().with_negatives_elsewhere(vec![slots]));
        for (with_slots, without) in with_slots.iter().zip(losses(pairs())) {
            assert!((with_slots - without).abs() < 1e-6, "{}", backend.name);
        }
    }
}

fn pairs() -> Pairs {
    let device = &backends()[0].device;
    let rows = || Tensor::<2>::ones([2, 3], device);
    Pairs::aligned(rows(), rows()).with_negatives_elsewhere(vec![(rows(), Tensor::zeros([2], device))])
}

#[test]
#[should_panic(expected = "SupConLoss: negatives elsewhere are not for this; see Pairs::with_negatives_elsewhere")]
fn a_loss_that_would_leave_them_out_says_so() {
    SupConLossConfig::new().init(&backends()[0].device).forward_pairs(&pairs());
}

#[test]
#[should_panic(expected = "Pairs: negatives elsewhere are for Pairs::aligned and Pairs::queue")]
fn pairs_of_labels_have_none() {
    let device = &backends()[0].device;
    let rows = || Tensor::<2>::ones([2, 3], device);
    let pairs = Pairs::in_batch(rows(), Tensor::zeros([2], device));
    let _ = pairs.with_negatives_elsewhere(vec![(rows(), Tensor::zeros([2], device))]);
}
