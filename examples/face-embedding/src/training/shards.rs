//! A head in shards, in the files of a checkpoint: these hold it in one piece, on however many devices it is trained.
//!
//! | | in one piece | in shards |
//! | --- | --- | --- |
//! | model | `head.Margin.centers.weight` | `head.Sharded.centers.0.weight` and so on: its rows |
//! | | `head.Margin.centers.draws` | `head.Sharded.centers.0.draws` and so on, the seed higher by the number |
//! | optimizer | of the id of the centers | of the id of each shard, see [`id_of_shard`] |

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use burn::tensor::{Bytes, TensorData};
use burn_pack::{Reader, Scalar, Tensor, Writer};

use crate::model::head::id_of_shard;

const WHOLE: &str = "head.Margin.";
const SHARDED: &str = "head.Sharded.";
const CENTERS: &str = "centers.";
const DRAWS: &str = "draws";
/// Seeds are below this in the draws of `burn_losses`.
const SEEDS: i64 = 1 << 24;

/// What a file says, of a model or of an optimizer.
struct Record {
    tensors: Vec<Tensor>,
    /// Of an optimizer: its numbers, whose names begin with the id of a parameter.
    scalars: BTreeMap<String, Scalar>,
    /// Of an optimizer: the paths of parameters by their ids.
    paths: BTreeMap<String, String>,
}

impl Record {
    fn read(bytes: Bytes) -> Result<Self> {
        let reader = Reader::from_bytes(bytes)?;
        let (scalars, paths) = (reader.scalars().clone(), reader.metadata().clone());
        Ok(Self { tensors: reader.into_tensors()?, scalars, paths })
    }

    fn write(self) -> Result<Bytes> {
        let mut writer = Writer::new(self.tensors);
        for (name, scalar) in &self.scalars {
            writer = writer.with_scalar(name, *scalar);
        }
        for (id, path) in &self.paths {
            writer = writer.with_metadata(id, path);
        }
        Ok(writer.into_bytes()?)
    }

    /// The path of the parameter that a tensor belongs to.
    fn path<'a>(&'a self, tensor: &'a Tensor) -> &'a str {
        let path = tensor.param_id.and_then(|id| self.paths.get(&id.to_string()));
        path.map_or(&tensor.name, String::as_str)
    }

    /// Whether it is of an optimizer, which names its tensors by ids.
    fn is_of_optimizer(&self) -> bool {
        !self.paths.is_empty()
    }
}

/// The record of a head in one piece, from one in shards; any other stays as it is.
pub(super) fn join(bytes: Bytes) -> Result<Bytes> {
    let record = Record::read(bytes)?;
    let mut joined = Record { tensors: Vec::new(), scalars: BTreeMap::new(), paths: BTreeMap::new() };
    let of_shard = |path: &str| {
        let (number, rest) = path.strip_prefix(SHARDED)?.strip_prefix(CENTERS)?.split_once('.')?;
        Some((number.parse::<usize>().ok()?, rest.to_string()))
    };
    let renamed = |path: &str| match (of_shard(path), path.strip_prefix(SHARDED)) {
        (Some((_, rest)), _) => format!("{WHOLE}{CENTERS}{rest}"),
        (None, Some(rest)) => format!("{WHOLE}{rest}"),
        (None, None) => path.to_string(),
    };
    let is_kept = |id: &str| record.paths.get(id).and_then(|path| of_shard(path)).is_none_or(|(number, _)| number == 0);
    joined.paths =
        record.paths.iter().filter(|(id, _)| is_kept(id)).map(|(id, path)| (id.clone(), renamed(path))).collect();
    let id_of = |name: &str| name.split('.').next().unwrap_or_default().to_string();
    joined.scalars = record.scalars.clone().into_iter().filter(|(name, _)| is_kept(&id_of(name))).collect();

    // The pieces of a tensor, by what they are of their shard.
    let mut pieces: BTreeMap<(String, String), BTreeMap<usize, Tensor>> = BTreeMap::new();
    for tensor in &record.tensors {
        let path = record.path(tensor);
        match of_shard(path) {
            Some((number, rest)) => {
                let field = if record.is_of_optimizer() { field_of(&tensor.name) } else { String::new() };
                pieces.entry((rest, field)).or_default().insert(number, tensor.clone());
            }
            None if record.is_of_optimizer() => joined.tensors.push(tensor.clone()),
            None => joined.tensors.push(named(tensor, renamed(path), tensor.param_id)),
        }
    }
    for ((rest, field), pieces) in pieces {
        let last = pieces.last_key_value().map_or(0, |(number, _)| *number);
        ensure!(last + 1 == pieces.len(), "of {} shards some lack their {rest}{field}", last + 1);
        let first = pieces[&0].clone();
        let name = if record.is_of_optimizer() { first.name.clone() } else { format!("{WHOLE}{CENTERS}{rest}") };
        if rest == DRAWS {
            joined.tensors.push(named(&first, name, first.param_id));
            continue;
        }
        let mut shape = first.shape.to_vec();
        shape[0] = 0;
        let mut bytes = Vec::new();
        for (number, piece) in &pieces {
            ensure!(
                piece.shape[1..] == shape[1..],
                "the rows of shard {number} are of another length than those of the first"
            );
            shape[0] += piece.shape[0];
            bytes.extend_from_slice(&piece.to_bytes()?);
        }
        joined.tensors.push(Tensor::new(name, first.dtype, shape, first.param_id, Bytes::from_bytes_vec(bytes)));
    }
    joined.write()
}

/// The record of a head in shards of so many rows, from one in one piece.
pub(super) fn split(bytes: Bytes, rows: &[usize]) -> Result<Bytes> {
    let record = Record::read(bytes)?;
    let mut cut = Record { tensors: Vec::new(), scalars: BTreeMap::new(), paths: BTreeMap::new() };
    let of_centers = |path: &str| Some(path.strip_prefix(WHOLE)?.strip_prefix(CENTERS)?.to_string());
    let renamed = |path: &str| match path.strip_prefix(WHOLE) {
        Some(rest) => format!("{SHARDED}{rest}"),
        None => path.to_string(),
    };
    // The centers, by the id of what an optimizer keeps of them.
    let centers: BTreeMap<String, String> =
        record.paths.iter().filter_map(|(id, path)| Some((id.clone(), of_centers(path)?))).collect();
    for (id, path) in &record.paths {
        let Some(rest) = centers.get(id) else {
            cut.paths.insert(id.clone(), renamed(path));
            continue;
        };
        for number in 0..rows.len() {
            let path = format!("{SHARDED}{CENTERS}{number}.{rest}");
            cut.paths.insert(id_of_shard(id.parse()?, number).to_string(), path);
        }
    }
    for (name, scalar) in &record.scalars {
        match name.split_once('.') {
            Some((id, field)) if centers.contains_key(id) => {
                for number in 0..rows.len() {
                    cut.scalars.insert(format!("{}.{field}", id_of_shard(id.parse()?, number)), *scalar);
                }
            }
            _ => drop(cut.scalars.insert(name.clone(), *scalar)),
        }
    }
    for tensor in &record.tensors {
        let path = record.path(tensor);
        let Some(rest) = of_centers(path) else {
            let name = if record.is_of_optimizer() { tensor.name.clone() } else { renamed(path) };
            cut.tensors.push(named(tensor, name, tensor.param_id));
            continue;
        };
        let id = tensor.param_id.with_context(|| format!("{} has no id", tensor.name))?;
        let mut pieces = Pieces::of(tensor)?;
        for (number, &rows) in rows.iter().enumerate() {
            let piece = if rest == DRAWS { draws_of_shard(tensor, number)? } else { pieces.next(rows)? };
            let id = id_of_shard(id, number);
            let name = match record.is_of_optimizer() {
                true => format!("{id}{}", field_of(&tensor.name)),
                false => format!("{SHARDED}{CENTERS}{number}.{rest}"),
            };
            cut.tensors.push(named(&piece, name, Some(id)));
        }
        ensure!(rest == DRAWS || pieces.is_at_end(), "{} has more rows than the shards, {rows:?}", tensor.name);
    }
    cut.write()
}

/// The same tensor under another name.
fn named(tensor: &Tensor, name: String, param_id: Option<u64>) -> Tensor {
    let mut tensor = tensor.clone();
    (tensor.name, tensor.param_id) = (name, param_id);
    tensor
}

/// What follows the id in the name of a tensor of an optimizer.
fn field_of(name: &str) -> String {
    name.find('.').map_or_else(String::new, |dot| name[dot..].to_string())
}

/// The rows of a tensor, some after the other.
struct Pieces<'a> {
    tensor: &'a Tensor,
    bytes: Bytes,
    /// Bytes of a row.
    row: usize,
    start: usize,
}

impl<'a> Pieces<'a> {
    fn of(tensor: &'a Tensor) -> Result<Self> {
        let bytes = tensor.to_bytes()?;
        let row = bytes.len() / tensor.shape[0].max(1);
        Ok(Self { tensor, bytes, row, start: 0 })
    }

    fn next(&mut self, rows: usize) -> Result<Tensor> {
        let Tensor { name, dtype, shape, .. } = self.tensor;
        let end = self.start + rows * self.row;
        let bytes =
            self.bytes.get(self.start..end).with_context(|| format!("{name} has fewer rows than its shards"))?;
        self.start = end;
        let mut shape = shape.to_vec();
        shape[0] = rows;
        Ok(Tensor::new(name.clone(), *dtype, shape, None, Bytes::from_bytes_vec(bytes.to_vec())))
    }

    fn is_at_end(&self) -> bool {
        self.start == self.bytes.len()
    }
}

/// The draws of a shard, as [`ShardedHead::new`](burn_losses::heads::ShardedHead) makes them of those of the head in one piece.
fn draws_of_shard(whole: &Tensor, number: usize) -> Result<Tensor> {
    let data = TensorData::from_bytes(whole.to_bytes()?, whole.shape.clone(), whole.dtype);
    let mut draws: Vec<i64> = data.iter::<i64>().collect();
    let seed = draws.first_mut().ok_or_else(|| anyhow!("{} is empty", whole.name))?;
    *seed = (*seed + number as i64) % SEEDS;
    let data = TensorData::new(draws, whole.shape.clone()).convert_dtype(whole.dtype);
    let (bytes, shape, dtype) = data.into_parts();
    Ok(Tensor::new(whole.name.clone(), dtype, shape, None, bytes))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use burn::module::{Module, ParamGroup};
    use burn::optim::ModuleOptimizer;
    use burn::store::ModuleRecord;
    use burn::tensor::{DType, Device};
    use burn::train::TrainStep;
    use burn_losses::heads::HeadKind;

    use super::super::optimizer::optimizer;
    use super::*;
    use crate::model::face_model::{FaceBatch, FaceModel};
    use crate::model::head::Head;
    use crate::model::spread::Part;
    use crate::settings::config::TrainConfig;
    use crate::settings::loss::{ContrastiveKind, LossKind, LossSettings};
    use crate::settings::network::NetworkSettings;

    /// Neither they nor the pictures of a batch divide by two or three.
    const PEOPLE: usize = 11;
    const BATCH: usize = 7;
    const SIDE: usize = 16;
    const RATE: f64 = 0.01;

    fn devices(count: usize) -> Vec<Device> {
        vec![Device::flex().autodiff(); count]
    }

    /// Model and optimizer after some steps.
    type Trained = (FaceModel, ModuleOptimizer);

    /// A training with its first weights, in one piece.
    struct Training {
        config: TrainConfig,
        drawn: Bytes,
        precision: DType,
    }

    impl Training {
        fn of(loss: LossKind, sample_rate: Option<f64>, precision: DType) -> Self {
            let network = NetworkSettings {
                image_size: Some(SIDE),
                width: Some(2),
                embedding_size: Some(8),
                ..NetworkSettings::default()
            };
            let loss_settings = LossSettings { sample_rate, ..LossSettings::default() };
            let config = TrainConfig { network, loss, loss_settings, ..TrainConfig::default() };
            let config = config.resolve().expect("in range");
            // Once for all devices: random numbers of Burn are those of the process, and so of all tests.
            let model = FaceModel::new(&config, PEOPLE, &devices(1)[0]);
            let mut record = Record::read(model.into_record().into_bytes().expect("a record")).expect("a record");
            for tensor in record.tensors.iter_mut().filter(|tensor| tensor.dtype == DType::F32) {
                let (bytes, shape, dtype) = data(tensor).convert_dtype(precision).into_parts();
                *tensor = Tensor::new(tensor.name.clone(), dtype, shape, tensor.param_id, bytes);
            }
            Self { config, drawn: record.write().expect("a record"), precision }
        }

        /// Statistics of a batch are those of each part, so that only a model without them is the same on several devices.
        fn begun(&self, devices: &[Device]) -> Trained {
            let norms = ParamGroup::from_regex(r"norm\.").expect("a pattern");
            let model = FaceModel::to_train(&self.config, PEOPLE, None, devices).freeze_group(norms);
            let model = loaded(model, self.drawn.clone());
            (model, optimizer(&self.config).expect("patterns"))
        }

        fn go_on(&self, begun: Trained, steps: Range<usize>, devices: &[Device]) -> Trained {
            steps.fold(begun, |(model, mut optimizer), step| {
                let output = TrainStep::step(&model, self.batch(step, devices));
                (optimizer.step(RATE, model, output.grads), optimizer)
            })
        }

        fn trained(&self, steps: usize, devices: &[Device]) -> Trained {
            self.go_on(self.begun(devices), 0..steps, devices)
        }

        /// A batch whose pictures and people are others in every step, in a part for each device.
        fn batch(&self, step: usize, devices: &[Device]) -> FaceBatch {
            const LENGTH: usize = 3 * SIDE * SIDE;
            let values: Vec<f64> = (0..BATCH * LENGTH).map(|at| ((at + 97 * step) as f64 * 0.37).sin()).collect();
            let labels: Vec<i64> = (0..BATCH).map(|row| ((step * 5 + row / 2 * 3) % PEOPLE) as i64).collect();
            let mut rest = values.as_slice();
            let part = |(number, device): (usize, &Device)| {
                let count = BATCH / devices.len() + usize::from(number < BATCH % devices.len());
                let (part, others) = rest.split_at(count * LENGTH);
                rest = others;
                let pictures = TensorData::new(part.to_vec(), [count, 3, SIDE, SIDE]);
                Part { pictures: burn::tensor::Tensor::from_data(pictures, (device, self.precision)), factors: None }
            };
            FaceBatch {
                parts: devices.iter().enumerate().map(part).collect(),
                labels: burn::tensor::Tensor::from_data(labels.as_slice(), &devices[0]),
                margin_share: 1.0,
                scale_share: 1.0,
            }
        }
    }

    /// A model with the weights of a file, which holds it in one piece.
    fn loaded(model: FaceModel, file: Bytes) -> FaceModel {
        let rows = model.head.shard_rows();
        let file = if rows.is_empty() { file } else { split(file, &rows).expect("it fits") };
        model.load_record(ModuleRecord::from_bytes(file).expect("a record"))
    }

    fn data(tensor: &Tensor) -> TensorData {
        TensorData::from_bytes(tensor.to_bytes().expect("bytes"), tensor.shape.clone(), tensor.dtype)
    }

    /// What the files of a checkpoint say.
    fn files((model, optimizer): &Trained) -> [Bytes; 2] {
        let model = model.clone().into_record().into_bytes().expect("a record");
        [model, optimizer.to_record().into_bytes().expect("a record")].map(|bytes| join(bytes).expect("they fit"))
    }

    /// The numbers of a file, by path and field.
    fn numbers(bytes: Bytes) -> BTreeMap<String, Vec<f64>> {
        let record = Record::read(bytes).expect("a record");
        let of = |tensor: &Tensor| {
            let field = if record.is_of_optimizer() { field_of(&tensor.name) } else { String::new() };
            (format!("{}{field}", record.path(tensor)), data(tensor).iter::<f64>().collect())
        };
        record.tensors.iter().map(of).collect()
    }

    /// The largest difference between the numbers of two files, relative to the largest number of its tensor.
    fn difference(one: &Bytes, other: &Bytes) -> f64 {
        let [one, other] = [one, other].map(|bytes| numbers(bytes.clone()));
        assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        let of = |name: &String| {
            let (one, other) = (&one[name], &other[name]);
            assert_eq!(one.len(), other.len(), "{name}");
            let largest = one.iter().fold(1e-3, |largest: f64, number| largest.max(number.abs()));
            one.iter().zip(other).fold(0.0, |worst: f64, (one, other)| worst.max((one - other).abs() / largest))
        };
        one.keys().map(of).fold(0.0, f64::max)
    }

    /// Heads with a margin, with several centers of a class, with state, with a parameter beside the centers; and losses whose
    /// classes are on the first device.
    #[test]
    fn ten_steps_on_several_devices_are_those_on_one() {
        let heads = [HeadKind::ArcFace, HeadKind::SubCenterArcFace, HeadKind::AdaFace, HeadKind::SphereFace2];
        let pairs = [ContrastiveKind::SupCon, ContrastiveKind::ProxyAnchor];
        let losses = heads.into_iter().map(LossKind::Head).chain(pairs.into_iter().map(LossKind::Contrastive));
        for loss in losses.chain([LossKind::SoftmaxCenter]) {
            // In single precision ten steps make a difference of rounding as large as 1e-5.
            let training = Training::of(loss, None, DType::F64);
            let expected = files(&training.trained(10, &devices(1)));
            assert!(difference(&training.drawn, &expected[0]) > 1e-3, "{loss} has learned");
            for count in [2, 3] {
                let found = training.trained(10, &devices(count));
                assert_eq!(found.0.head.shard_rows().len(), if loss.is_spread() { count } else { 0 }, "{loss}");
                let found = files(&found);
                let differences = [0, 1].map(|file| difference(&expected[file], &found[file]));
                assert!(differences.iter().all(|&difference| difference < 1e-11), "{loss} on {count}: {differences:?}");
            }
        }
    }

    /// Of the part that the first device has, whatever the others see.
    #[test]
    fn running_statistics_are_those_of_the_first_device() {
        let training = Training::of(LossKind::Softmax, None, DType::F32);
        let statistics = |devices: &[Device], parts: usize| {
            let model = loaded(FaceModel::to_train(&training.config, PEOPLE, None, devices), training.drawn.clone());
            let mut batch = training.batch(0, devices);
            batch.parts.truncate(parts);
            let count = batch.parts.iter().map(|part| part.pictures.dims()[0]).sum();
            batch.labels = batch.labels.narrow(0, 0, count);
            drop(TrainStep::step(&model, batch));
            // What was measured last is put down.
            drop(model.valid());
            let file = numbers(model.into_record().into_bytes().expect("a record"));
            file.into_iter().filter(|(name, _)| name.contains("running_")).collect::<BTreeMap<_, _>>()
        };
        let found = statistics(&devices(2), 2);
        assert!(found.len() > 10 && found.values().flatten().any(|&number| number != 0.0 && number != 1.0));
        assert_eq!(found, statistics(&devices(2), 1));
        assert_ne!(found, statistics(&devices(1), 1));
    }

    #[test]
    fn what_is_joined_splits_into_what_the_library_shards() {
        // With draws, and with several rows of a class.
        for (kind, rate) in [(HeadKind::ArcFace, Some(0.2)), (HeadKind::SubCenterArcFace, None)] {
            let training = Training::of(LossKind::Head(kind), rate, DType::F32);
            let (model, optimizer) = training.trained(3, &devices(3));
            let rows = model.head.shard_rows();
            let ids = |bytes: &Bytes| {
                let record = Record::read(bytes.clone()).expect("a record");
                let of = |tensor: &Tensor| (record.path(tensor).to_string(), tensor.param_id);
                // No optimizer asks for those of draws.
                let of_weights = record.tensors.iter().map(of).filter(|(path, _)| !path.ends_with(DRAWS));
                of_weights.collect::<BTreeMap<_, _>>()
            };
            let scalars = |bytes: &Bytes| Record::read(bytes.clone()).expect("a record").scalars;
            let model = model.into_record().into_bytes().expect("a record");
            for file in [model, optimizer.to_record().into_bytes().expect("a record")] {
                let back = split(join(file.clone()).expect("they fit"), &rows).expect("it fits");
                assert_eq!(ids(&back), ids(&file));
                assert_eq!(scalars(&back), scalars(&file));
                assert_eq!(numbers(back), numbers(file));
            }
            // Of a head in one piece, whose draws were counted.
            let head = training.trained(3, &devices(1)).0.head;
            let whole = as_of_a_model(head.clone());
            let expected = as_of_a_model(head.spread(&devices(3)));
            assert_eq!(numbers(split(whole.clone(), &rows).expect("it fits")), numbers(expected));
            let error = split(whole, &rows[1..]).expect_err("fewer rows").to_string();
            assert!(error.contains("has more rows than the shards"), "{error}");
        }
    }

    /// The record of a head as that of a model with it.
    fn as_of_a_model(head: Head) -> Bytes {
        let record = Record::read(head.into_record().into_bytes().expect("a record")).expect("a record");
        let of = |tensor: &Tensor| named(tensor, format!("head.{}", tensor.name), tensor.param_id);
        let tensors = record.tensors.iter().map(of).collect();
        Record { tensors, ..record }.write().expect("a record")
    }

    #[test]
    fn a_shard_that_is_not_there_is_told() {
        let training = Training::of(LossKind::Head(HeadKind::ArcFace), None, DType::F32);
        let file = training.begun(&devices(3)).0.into_record().into_bytes().expect("a record");
        let mut record = Record::read(file).expect("a record");
        record.tensors.retain(|tensor| tensor.name != "head.Sharded.centers.1.weight");
        let error = join(record.write().expect("a record")).expect_err("the second is gone").to_string();
        assert_eq!(error, "of 3 shards some lack their weight");
    }

    /// From two devices to one and to three, through the files.
    #[test]
    fn a_checkpoint_goes_on_with_another_number_of_devices() {
        let training = Training::of(LossKind::Head(HeadKind::ArcFace), None, DType::F32);
        let half = training.trained(3, &devices(2));
        let expected = files(&training.trained(6, &devices(1)));
        for count in [1, 3] {
            let devices = devices(count);
            let (model, optimizer) = training.begun(&devices);
            let rows = model.head.shard_rows();
            let [of_model, of_optimizer] = files(&half);
            let of_optimizer =
                if rows.is_empty() { of_optimizer } else { split(of_optimizer, &rows).expect("it fits") };
            let begun = (loaded(model, of_model), optimizer.from_bytes(of_optimizer).expect("a record"));
            let found = files(&training.go_on(begun, 3..6, &devices));
            let differences = [0, 1].map(|file| difference(&expected[file], &found[file]));
            assert!(differences.iter().all(|&difference| difference < 1e-4), "{count}: {differences:?}");
        }
    }
}
