//! Which parameters learn how: groups by path, their learning rates and the optimizer.

use anyhow::{Result, anyhow};
use burn::module::{ParamGroup, ParamGroupError};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{ModuleOptimizer, SgdConfig};
use burn_losses::optim::RowSgdConfig;

use super::schedule::Schedule;
use crate::settings::config::TrainConfig;

const MOMENTUM: f64 = 0.9;

/// The parameters of the head. By path, since a checkpoint brings its own parameter ids and a group
/// of ids would silently match nothing after a resume.
fn head_group() -> Result<ParamGroup> {
    group(r"^head\.")
}

/// Parameters that weight decay would only pull away from where they do their work.
fn undecayed_group() -> Result<ParamGroup> {
    group(r"(^|\.)(gamma|beta|alpha|bias)$")
}

fn group(pattern: &str) -> Result<ParamGroup> {
    ParamGroup::from_regex(pattern).map_err(|ParamGroupError::InvalidPatternError(error)| anyhow!(error))
}

/// Trunk and head each have a peak of their own; both rise and fall together.
pub(super) fn learning_rates(config: &TrainConfig, steps: usize) -> Result<ModuleLrScheduler> {
    let warmup_steps = (config.warmup_share * steps as f64).round() as usize;
    let schedule = |peak| Schedule::new(peak, &config.schedule_settings, warmup_steps, steps);
    Ok(ModuleLrScheduler::new(schedule(config.lr)).with_group(head_group()?, schedule(config.head_lr)))
}

/// SGD with momentum, as the field trains these models. Where a batch is compared with a part of the people, the centers of the
/// others keep their places and their momentum, as in InsightFace's PartialFC.
pub(super) fn optimizer(config: &TrainConfig) -> Result<ModuleOptimizer> {
    // Burn's default dampening is 0.1, where PyTorch and the papers have none.
    let momentum = MomentumConfig::new().with_momentum(MOMENTUM).with_dampening(0.0);
    let undecayed = SgdConfig::new().with_momentum(Some(momentum));
    let decayed = undecayed.clone().with_weight_decay(Some(WeightDecayConfig::new(config.weight_decay as f32)));
    let optimizer = decayed.init().with_group(undecayed_group()?, undecayed.build(), None);
    if !config.loss_settings.samples() {
        return Ok(optimizer);
    }
    // Between them is the kind of the head, as a variant of an enum, and after them the number of a shard.
    let rows = RowSgdConfig::new().with_momentum(MOMENTUM).with_weight_decay(config.weight_decay);
    Ok(optimizer.with_group(group(r"^head\.(.+\.)?centers\.(\d+\.)?weight$")?, rows.build(), None))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use burn::tensor::{Device, Tensor, TensorData};
    use burn::train::TrainStep;
    use burn::train::metric::{Adaptor, ItemLazy};
    use burn_losses::diagnostics::Reading;
    use burn_losses::heads::HeadKind;

    use super::*;
    use crate::model::face_model::{FaceBatch, FaceModel};
    use crate::model::head::Head;
    use crate::model::spread::Part;
    use crate::settings::loss::{LossKind, LossSettings};
    use crate::settings::network::NetworkSettings;
    use crate::settings::optimization::Optimization;
    use crate::training::gradients::MeanGradients;

    const PEOPLE: usize = 200;
    const SIZE: usize = 8;
    const RATE: f64 = 0.1;

    fn rows(tensor: Tensor<2>) -> Vec<Vec<f64>> {
        let [_, length] = tensor.dims();
        let numbers: Vec<f64> = tensor.into_data().iter::<f32>().map(f64::from).collect();
        numbers.chunks(length).map(<[f64]>::to_vec).collect()
    }

    fn centers(model: &FaceModel) -> Vec<Vec<f64>> {
        match &model.head {
            Head::Margin(head) => rows(head.centers.weight.val().inner()),
            Head::Sharded(_) | Head::Softmax(_) | Head::Contrastive(_) => panic!("the loss has a head"),
        }
    }

    fn dot(one: &[f64], other: &[f64]) -> f64 {
        one.iter().zip(other).map(|(one, other)| one * other).sum()
    }

    /// What InsightFace's `PartialFC_V2` (arcface_torch, partial_fc_v2.py) does with its optimizer, of one device, loop by loop:
    /// the margin softmax (of CosFace) over the sampled centers, and a step of SGD with momentum and weight decay of these rows, whose
    /// velocities are cut out and put back.
    struct PartialFc {
        centers: Vec<Vec<f64>>,
        velocities: BTreeMap<usize, Vec<f64>>,
    }

    impl PartialFc {
        /// The loss of a batch, and the gradients of the sampled centers.
        fn gradients(
            &self,
            embeddings: &[Vec<f64>],
            labels: &[usize],
            sample: &BTreeSet<usize>,
            config: &TrainConfig,
        ) -> (f64, BTreeMap<usize, Vec<f64>>) {
            let (margin, scale) = (config.loss_settings.margin.unwrap(), config.loss_settings.scale.unwrap());
            let mut gradients: BTreeMap<usize, Vec<f64>> =
                sample.iter().map(|&class| (class, vec![0.0; SIZE])).collect();
            let mut loss = 0.0;
            for (embedding, &label) in embeddings.iter().zip(labels) {
                let length = dot(embedding, embedding).sqrt();
                let unit: Vec<f64> = embedding.iter().map(|number| number / length).collect();
                let cosine = |class: usize| {
                    let center = &self.centers[class];
                    dot(&unit, center) / dot(center, center).sqrt()
                };
                let score = |class| scale * (cosine(class) - if class == label { margin } else { 0.0 });
                let sum: f64 = sample.iter().map(|&class| score(class).exp()).sum();
                loss -= score(label) - sum.ln();
                for &class in sample {
                    let by_score = score(class).exp() / sum - f64::from(u8::from(class == label));
                    let center = &self.centers[class];
                    let length = dot(center, center).sqrt();
                    for place in 0..SIZE {
                        let turn = (unit[place] - cosine(class) * center[place] / length) / length;
                        gradients.get_mut(&class).unwrap()[place] += by_score * scale * turn / labels.len() as f64;
                    }
                }
            }
            (loss / labels.len() as f64, gradients)
        }

        fn step(&mut self, gradients: BTreeMap<usize, Vec<f64>>, config: &TrainConfig) {
            for (class, gradient) in gradients {
                let velocity = self.velocities.entry(class).or_insert_with(|| vec![0.0; SIZE]);
                for place in 0..SIZE {
                    let weight = &mut self.centers[class][place];
                    velocity[place] = 0.9 * velocity[place] + gradient[place] + config.weight_decay * *weight;
                    *weight -= config.head_lr * velocity[place];
                }
            }
        }
    }

    /// Which centers a gradient is of: behind the numbers of a row the four bytes of its place, a check of them and whether it counts.
    fn sample_of(gradient: Tensor<2>) -> BTreeSet<usize> {
        let place = |row: &Vec<f64>| (0..4).map(|byte| ((row[SIZE + byte] * 256.0) as usize) << (8 * byte)).sum();
        rows(gradient).iter().filter(|row| row[SIZE + 5] == 0.75).map(place).collect()
    }

    /// A batch of six pictures, and who is on them.
    fn batch(number: usize, device: &Device) -> (FaceBatch, Vec<usize>) {
        let labels: Vec<usize> = (0..6).map(|row| (number * 17 + row * 31) % PEOPLE).collect();
        let values: Vec<f32> = (0..6 * 3 * 16 * 16).map(|at| ((at + 97 * number) as f32 * 0.37).sin()).collect();
        let pictures = Tensor::from_data(TensorData::new(values, [6, 3, 16, 16]), device);
        let of_labels: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
        let batch = FaceBatch {
            parts: vec![Part { pictures, factors: None }],
            labels: Tensor::from_data(of_labels.as_slice(), device),
            margin_share: 1.0,
            scale_share: 1.0,
        };
        (batch, labels)
    }

    /// Losses and centers of 15 steps of the whole model, of a batch each and of two, against the loops above in double precision.
    #[test]
    fn a_sample_of_the_people_learns_as_with_insightface() {
        for accumulate in [1, 2] {
            learns_as_with_insightface(accumulate);
        }
    }

    fn learns_as_with_insightface(accumulate: usize) {
        let network = NetworkSettings {
            image_size: Some(16),
            width: Some(2),
            embedding_size: Some(SIZE),
            ..NetworkSettings::default()
        };
        let loss_settings = LossSettings { sample_rate: Some(RATE), ..LossSettings::default() };
        let loss = LossKind::Head(HeadKind::CosFace);
        let optimization = Optimization { accumulate, ..Optimization::default() };
        let config =
            TrainConfig { network, loss, loss_settings, optimization, weight_decay: 0.01, ..TrainConfig::default() };
        let config = config.resolve().expect("in range");
        let device = Device::flex().autodiff();
        let mut model = FaceModel::new(&config, PEOPLE, &device);
        let mut optimizer = optimizer(&config).expect("the groups are patterns");
        let mut twin = PartialFc { centers: centers(&model), velocities: BTreeMap::new() };
        let mut samples = BTreeSet::new();
        let (mut drawn, mut drawn_twice) = (0, 0);
        for step in 0..15_usize {
            let mut mean = MeanGradients::new();
            let mut of_step: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
            for number in 0..accumulate {
                let (batch, labels) = batch(step * accumulate + number, &device);
                let embeddings = rows(model.trunk.forward_with(batch.parts[0].pictures.clone(), None).inner());
                let output = TrainStep::step(&model, batch);
                let reading: Reading = output.item.sync().expect("it can be read").adapt();
                let Head::Margin(head) = &model.head else { panic!("the loss has a head") };
                let sample = sample_of(output.grads.get(head.centers.weight.id).expect("it is trained"));
                assert!((20..=26).contains(&sample.len()), "a tenth of 200, and up to six of the batch: {sample:?}");
                assert!(labels.iter().all(|label| sample.contains(label)));
                mean.add(&model, output.grads);
                let (expected, gradients) = twin.gradients(&embeddings, &labels, &sample, &config);
                assert!(
                    (reading.loss - expected).abs() < 1e-4 * expected,
                    "step {step}: {} for {expected}",
                    reading.loss
                );
                for (class, gradient) in gradients {
                    drawn_twice += usize::from(of_step.contains_key(&class));
                    let sum = of_step.entry(class).or_insert_with(|| vec![0.0; SIZE]);
                    sum.iter_mut().zip(&gradient).for_each(|(sum, slope)| *sum += slope / accumulate as f64);
                }
                samples.insert(sample);
            }
            let before = centers(&model);
            let gradients = mean.take(&model);
            model = optimizer.step(config.head_lr, model, gradients);
            let after = centers(&model);
            let moved: BTreeSet<usize> = (0..PEOPLE).filter(|&class| before[class] != after[class]).collect();
            assert_eq!(moved, of_step.keys().copied().collect());
            drawn += of_step.len();
            twin.step(of_step, &config);
            for (class, (found, expected)) in after.iter().zip(&twin.centers).enumerate() {
                for (found, expected) in found.iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-4, "step {step}, class {class}: {found} for {expected}");
                }
            }
        }
        assert_eq!(samples.len(), 15 * accumulate, "every batch has a sample of its own");
        assert_eq!(drawn_twice > 10, accumulate > 1, "{drawn_twice}");
        // Some classes were drawn more than once, with a momentum that had waited.
        assert!(drawn > twin.velocities.len() + 50, "{drawn} draws of {} classes", twin.velocities.len());
    }
}
