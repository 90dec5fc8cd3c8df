use burn::module::Param;
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use burn_losses::diagnostics::{ClassCosines, Collapse, Figures, Reading, embedding_figures};
use burn_losses::heads::{CentersConfig, CosFace, CosFaceConfig, ShardedHead};
use burn_losses::labels::{LabelPolicy, OnBadLabel};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close};
use support::table::host;

const DIM: usize = 6;
const CLOSE: Tolerance = Tolerance::new(1e-5, 1e-5);

fn rows(count: usize, seed: usize) -> Vec<Vec<f64>> {
    let number = |place: usize| ((place * 7919 + seed * 31 + 1) as f64 * 0.618_033_988_7).fract() - 0.5;
    (0..count).map(|row| (0..DIM).map(|column| number(row * DIM + column)).collect()).collect()
}

fn matrix(rows: &[Vec<f64>], backend: &Backend) -> Tensor<2> {
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), DIM]), (&backend.device, backend.dtype))
}

fn integers(labels: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(labels), device)
}

fn head(classes: &[Vec<f64>], backend: &Backend) -> CosFace {
    let centers = CentersConfig::new().with_labels(LabelPolicy::new().with_on_bad_label(OnBadLabel::Ignore));
    let mut head = CosFaceConfig::new(classes.len(), DIM).with_centers(centers).init(&backend.device);
    head.centers.weight = Param::from_tensor(matrix(classes, backend));
    head
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn read(figures: Figures) -> Reading {
    Reading::from_packed(&host(figures.packed))
}

#[test]
fn angles_to_the_own_and_the_nearest_other_class_are_those_of_plain_loops() {
    let (classes, batch) = (rows(9, 1), rows(5, 2));
    let labels = [3, -1, 8, 9, 0];
    let mut own = Vec::new();
    let mut nearest = Vec::new();
    for (row, &label) in batch.iter().zip(&labels).filter(|(_, label)| (0..9).contains(*label)) {
        own.push(cosine(row, &classes[label as usize]).acos());
        let others = classes.iter().enumerate().filter(|&(class, _)| class != label as usize);
        nearest.push(others.map(|(_, class)| cosine(row, class).acos()).fold(f64::INFINITY, f64::min));
    }
    let mean = |angles: &[f64]| angles.iter().sum::<f64>() / angles.len() as f64;
    for backend in backends() {
        let head = head(&classes, &backend);
        let (batch, labels) = (matrix(&batch, &backend), integers(&labels, &backend.device));
        let losses = head.forward_no_reduction(batch.clone(), labels.clone());
        let expected_loss = host(head.forward(batch.clone(), labels.clone()))[0];
        let figures = Figures::of_head(&head, batch.clone(), labels.clone(), losses.clone());
        let sharded = ShardedHead::new(head, &[backend.device.clone(), backend.device.clone()]);
        let of_shards = Figures::of_head(&sharded, batch, labels, losses);
        assert_close(&backend.name, &host(of_shards.packed), &host(figures.packed.clone()), CLOSE);
        let reading = read(figures);

        assert_eq!((reading.rows, reading.batch, reading.bad_labels), (3, 5, 1), "{}", backend.name);
        let found = [reading.target_angle, reading.nearest_negative_angle, reading.loss, reading.accuracy];
        let right = own.iter().zip(&nearest).filter(|(own, nearest)| own < nearest).count() as f64 / own.len() as f64;
        assert_close(&backend.name, &found, &[mean(&own), mean(&nearest), expected_loss, right], CLOSE);
        // A softplus is never 0, so the share of losses above it would say nothing.
        assert_eq!(reading.active_share, None, "{}", backend.name);
    }
}

#[test]
fn classes_in_blocks_are_all_of_them() {
    // Wide enough for several blocks: of 4 million numbers, 3000 rows allow 1398 classes.
    let (batch, count) = (3000, 3001);
    for backend in backends().into_iter().filter(|backend| !backend.is_double()) {
        let options = (&backend.device.clone().without_autodiff(), DType::F32);
        let angle = |number: Tensor<1, Int>| number.float().cast(DType::F32).mul_scalar(0.002);
        let row = |angle: Tensor<1>| Tensor::stack::<2>(vec![angle.clone().cos(), angle.sin()], 1);
        let number = |count: i64| Tensor::<1, Int>::arange(0..count, options.0);
        // Class k is at 0.002·k radians, and so is row k: the nearest other is one step away, for the last row below.
        let classes = row(angle(number(count)));
        let labels = LabelPolicy::new().sanitise("a head", number(batch), count as usize);
        let cosines = ClassCosines::with_rows(classes, row(angle(number(batch))), labels);
        let step = 0.002_f64.cos();

        assert_close("own", &host(cosines.target), &vec![1.0; batch as usize], Tolerance::new(0.0, 1e-6));
        let nearest = host(cosines.nearest_negative);
        assert_close("nearest", &nearest, &vec![step; batch as usize], Tolerance::new(0.0, 1e-6));
    }
}

#[test]
fn within_a_batch_the_own_class_is_its_other_rows() {
    let batch = rows(5, 3);
    let labels = [4, 9, 4, 4, -1];
    let own = (cosine(&batch[0], &batch[2]) + cosine(&batch[0], &batch[3])) / 2.0;
    for backend in backends() {
        let cosines = ClassCosines::in_batch(matrix(&batch, &backend), integers(&labels, &backend.device));
        let found = [host(cosines.target)[0], host(cosines.nearest_negative)[0]];
        assert_close(&backend.name, &found, &[own, cosine(&batch[0], &batch[1])], CLOSE);
        // Row 1 has no positive, row 4 no class.
        let valid = cosines.valid.try_into_vec_as::<bool>().unwrap();
        assert_eq!(valid, [true, false, true, true, false], "{}", backend.name);
    }
}

#[test]
fn lengths_and_spread_are_those_by_hand() {
    for backend in backends() {
        let options = (&backend.device, backend.dtype);
        let embeddings = Tensor::<2>::from_data([[3.0, 4.0], [-3.0, -4.0], [0.6, 0.8], [6.0, 8.0]], options);
        // Lengths 5, 5, 1, 10. The mean row is (1.65, 2.2), of length 2.75; 151/4 - 2.75². Three directions of four agree.
        let expected = [5.25, 1.0, 10.0, (151.0_f64 / 4.0 - 5.25 * 5.25).sqrt(), 151.0 / 4.0 - 2.75 * 2.75, 0.75];
        assert_close(&backend.name, &host(embedding_figures(embeddings)), &expected, CLOSE);
    }
}

/// By hand: of three rows with a class the first two are at their center, the third at that of another class.
#[test]
fn the_accuracy_is_that_of_the_nearest_center() {
    for backend in backends() {
        let axis = |place: usize| (0..DIM).map(|axis| f64::from(u8::from(axis == place))).collect::<Vec<_>>();
        let head = head(&[axis(0), axis(1), axis(2)], &backend);
        let (batch, labels) = (matrix(&[axis(0), axis(1), axis(2), axis(0)], &backend), [0, 1, 0, -1]);
        let labels = integers(&labels, &backend.device);
        let mean = head.forward(batch.clone(), labels.clone());
        let reading = read(Figures::of_head(&head, batch, labels, mean.clone()));

        assert_close(&backend.name, &[reading.accuracy], &[2.0 / 3.0], CLOSE);
        assert_close(&backend.name, &[reading.loss], &host(mean), CLOSE);
    }
}

#[test]
fn the_active_share_is_of_the_losses_that_count() {
    for backend in backends() {
        let options = (&backend.device, backend.dtype);
        let losses = Tensor::<1>::from_data([0.0, 2.0, f64::NAN, 0.0, 4.0], options);
        let counted = Tensor::<1, Bool>::from_data([true, true, false, true, true], &backend.device);
        let labels = integers(&[0, 0, 1, -3], &backend.device);
        let reading = read(Figures::of_tuples(matrix(&rows(4, 1), &backend), labels, losses, counted));

        assert_eq!((reading.loss, reading.active_share, reading.bad_labels), (1.5, Some(0.5), 1), "{}", backend.name);
    }
}

#[test]
fn a_collapsed_batch_has_no_variance_and_a_spread_one_has() {
    for backend in backends() {
        let same = vec![rows(1, 4).remove(0); 6];
        let collapsed = host(embedding_figures(matrix(&same, &backend)));
        assert!(collapsed[5] < 1e-6, "{}: {collapsed:?}", backend.name);
        let spread = host(embedding_figures(matrix(&rows(6, 4), &backend)));
        assert!(spread[5] > 0.3, "{}: {spread:?}", backend.name);
    }
}

#[test]
fn an_empty_batch_one_class_and_rows_without_a_class_have_no_angle() {
    for backend in backends() {
        let of = |classes: usize, batch: &[Vec<f64>], labels: &[i64]| {
            let head = head(&rows(classes, 1), &backend);
            let (batch, labels) = (matrix(batch, &backend), integers(labels, &backend.device));
            let losses = head.forward_no_reduction(batch.clone(), labels.clone());
            read(Figures::of_head(&head, batch, labels, losses))
        };
        let empty = of(3, &[], &[]);
        assert_eq!((empty.rows, empty.batch, empty.loss, empty.length_mean), (0, 0, 0.0, 0.0));
        // One row has one direction: no collapse.
        assert_eq!(Collapse::of(&of(3, &rows(1, 2), &[0]), None), None, "{}", backend.name);
        let one_class = of(1, &rows(2, 2), &[0, 0]);
        assert_eq!((one_class.rows, one_class.batch), (0, 2));
        let mut bad = rows(2, 2);
        bad[0] = vec![f64::NAN; DIM];
        let with_nan = of(3, &bad, &[-1, 2]);
        assert_eq!((with_nan.rows, with_nan.bad_labels), (1, 0), "{}", backend.name);
        assert!(with_nan.target_angle.is_finite() && with_nan.nearest_negative_angle.is_finite());
        assert!(one_class.target_angle.is_nan());
    }
}

#[test]
fn huge_tiny_and_zero_rows_have_figures_that_are_finite() {
    for backend in backends() {
        let batch = [vec![1e18; DIM], vec![1e-30; DIM], vec![0.0; DIM]];
        let labels = integers(&[0, 1, 2], &backend.device);
        let head = head(&rows(4, 1), &backend);
        let batch = matrix(&batch, &backend);
        let losses = head.forward_no_reduction(batch.clone(), labels.clone());
        let figures = host(Figures::of_head(&head, batch, labels, losses).packed);
        assert!(figures.iter().all(|figure| figure.is_finite()), "{}: {figures:?}", backend.name);
    }
}

#[test]
fn half_precision_is_measured_in_f32() {
    let device = Device::flex().autodiff();
    for dtype in [DType::F16, DType::BF16] {
        let batch = Tensor::<2>::from_data([[300.0, 400.0], [1.0, 0.0]], (&device, dtype));
        let figures = embedding_figures(batch);
        assert_eq!(figures.dtype(), DType::F32);
        // The square of 500 is beyond f16.
        assert_close("lengths", &host(figures.narrow(0, 0, 3)), &[250.5, 1.0, 500.0], Tolerance::new(1e-6, 0.0));
    }
}
