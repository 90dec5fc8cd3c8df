//! A model with a head, one step of it, and a figure: what the README shows, from the packages alone.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};
use burn_losses::{ArcFace, ArcFaceConfig};
use embedding_eval::{LabelledRows, Nearness, retrieval_among};

#[derive(Module, Debug)]
struct Model {
    trunk: Linear,
    head: ArcFace,
}

fn main() {
    let device = Device::flex().autodiff();
    let trunk = LinearConfig::new(8, 4).init(&device);
    let head = ArcFaceConfig::new(3, 4).with_margin(0.5).with_scale(64.0).init(&device);
    let model = Model { trunk, head };
    assert!(burn_losses::heads::streams_on(&device), "the package has the fast path");

    let numbers: Vec<f32> = (0..48).map(|number| (number as f32).sin()).collect();
    let pictures = Tensor::<1>::from_data(numbers.as_slice(), &device).reshape([6, 8]);
    let labels = Tensor::<1, Int>::from_ints([0, 1, 2, 0, 1, 2], &device);
    let embeddings = model.trunk.forward(pictures);
    let loss = model.head.forward(embeddings.clone(), labels);
    let gradients = loss.backward();
    let of_centers = model.head.centers.weight.val().grad(&gradients).expect("the centers are trained");
    let length = of_centers.square().sum().into_scalar::<f32>();
    assert!(length.is_finite() && length > 0.0, "{length}");

    let embeddings = embeddings.try_into_vec_as::<f32>().expect("embeddings are numbers");
    let rows = LabelledRows::new(&embeddings, 4, &[0, 1, 2, 0, 1, 2]).expect("six rows of four");
    let found = retrieval_among(rows, Nearness::Cosine).expect("every label is there twice");
    println!("loss {:.4}, recall at 5 {:.1}", loss.into_scalar::<f32>(), found.recall_at(5));
}
