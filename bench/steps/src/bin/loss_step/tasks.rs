//! What can be measured: the inputs of a loss, and a step of it.

use burn::module::{Module, Param};
use burn::nn::loss::Reduction;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_losses::distance::Distance;
use burn_losses::prelude::*;
use burn_losses::{
    ArcFaceConfig, AsymmetricLossConfig, BinaryCrossEntropyLossConfig, BinaryFocalLossConfig, CenterLoss,
    CenterLossConfig, CenterMode, CentersConfig, CharbonnierLossConfig, CircleLossConfig, ContrastiveLossConfig,
    CrossEntropyLossConfig, FocalLossConfig, GeneralizedCrossEntropyLossConfig, InfoNceLossConfig, L1PenaltyConfig,
    L2PenaltyConfig, LiftedStructureLossConfig, LinearCrossEntropyLossConfig, LogCoshLossConfig, MatryoshkaLossConfig,
    MultiSimilarityLossConfig, NPairsLossConfig, OutputLayer, Pairs, PolyLossConfig, ProximalRowGroupsConfig,
    QuantileLossConfig, RowAdamWConfig, RowGradient, RowSgdConfig, SigLipLossConfig, SphereFace2Config,
    SupConLossConfig, TemperatureMode, TripletLossConfig, TripletMining, UniFaceConfig,
};

/// How much of everything.
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) others: usize,
}

/// One step of a loss on inputs that are there already.
pub(crate) type Step = Box<dyn FnMut()>;

/// What makes the inputs and the step.
pub(crate) type Task = fn(&Size, &Device) -> Step;

/// Everything that can be measured.
pub(crate) const TASKS: &[(&str, Task)] = &[
    ("cross-entropy", |size, device| {
        let loss = CrossEntropyLossConfig::new().init(device);
        of_classes(size, device, move |logits, labels| loss.forward(logits, labels, Reduction::Mean))
    }),
    ("focal", |size, device| {
        let loss = FocalLossConfig::new().init(device);
        of_classes(size, device, move |logits, labels| loss.forward(logits, labels, Reduction::Mean))
    }),
    ("linear-cross-entropy", |size, device| linear_cross_entropy(size, device, false)),
    ("linear-cross-entropy-whole", |size, device| linear_cross_entropy(size, device, true)),
    ("cross-entropy-soft", |size, device| {
        let loss = CrossEntropyLossConfig::new().init(device);
        of_soft_targets(size, device, move |logits, targets| loss.forward_soft(logits, targets, Reduction::Mean))
    }),
    ("focal-soft", |size, device| {
        let loss = FocalLossConfig::new().init(device);
        of_soft_targets(size, device, move |logits, targets| loss.forward_soft(logits, targets, Reduction::Mean))
    }),
    ("poly", |size, device| {
        let loss = PolyLossConfig::new().init(device);
        of_classes(size, device, move |logits, labels| loss.forward(logits, labels, Reduction::Mean))
    }),
    ("generalized-cross-entropy", |size, device| {
        let loss = GeneralizedCrossEntropyLossConfig::new().init(device);
        of_classes(size, device, move |logits, labels| loss.forward(logits, labels, Reduction::Mean))
    }),
    ("binary-cross-entropy", |size, device| {
        let loss = BinaryCrossEntropyLossConfig::new().init(device);
        of_answers(size, device, move |logits, targets| loss.forward(logits, targets, Reduction::Mean))
    }),
    ("binary-focal", |size, device| {
        let loss = BinaryFocalLossConfig::new().init(device);
        of_answers(size, device, move |logits, targets| loss.forward(logits, targets, Reduction::Mean))
    }),
    ("asymmetric", |size, device| {
        let loss = AsymmetricLossConfig::new().init(device);
        of_answers(size, device, move |logits, targets| loss.forward(logits, targets, Reduction::Mean))
    }),
    ("log-cosh", |size, device| {
        let loss = LogCoshLossConfig::new().init(device);
        of_numbers(size, device, move |numbers, targets| loss.forward(numbers, targets, Reduction::Mean))
    }),
    ("charbonnier", |size, device| {
        let loss = CharbonnierLossConfig::new().init(device);
        of_numbers(size, device, move |numbers, targets| loss.forward(numbers, targets, Reduction::Mean))
    }),
    ("quantile", |size, device| {
        let loss = QuantileLossConfig::new().init(device);
        of_numbers(size, device, move |numbers, targets| loss.forward(numbers, targets, Reduction::Mean))
    }),
    ("l1-penalty", |size, device| {
        let penalty = L1PenaltyConfig::new(0.01).init(device);
        of_parameters(size, device, move |weights| penalty.forward(weights))
    }),
    ("l2-penalty", |size, device| {
        let penalty = L2PenaltyConfig::new(0.01).init(device);
        of_parameters(size, device, move |weights| penalty.forward(weights))
    }),
    ("row-groups", |size, device| {
        let step = ProximalRowGroupsConfig::new(0.01).init(device);
        let mut weights = Some(Weights { weight: Param::from_tensor(normal([size.rows, size.columns], device)) });
        Box::new(move || weights = weights.take().map(|weights| step.step(0.1, weights)))
    }),
    ("manhattan", |size, device| all_pairs(size, device, Distance::Manhattan)),
    ("chebyshev", |size, device| all_pairs(size, device, Distance::Chebyshev)),
    ("euclidean", |size, device| all_pairs(size, device, Distance::Euclidean)),
    ("contrastive", |size, device| of_pairs(size, device, ContrastiveLossConfig::new().init(device))),
    ("n-pairs", |size, device| of_pairs(size, device, NPairsLossConfig::new().init(device))),
    ("lifted-structure", |size, device| of_pairs(size, device, LiftedStructureLossConfig::new().init(device))),
    ("circle", |size, device| of_pairs(size, device, CircleLossConfig::new().init(device))),
    ("multi-similarity", |size, device| of_pairs(size, device, MultiSimilarityLossConfig::new().init(device))),
    ("all-triplets", |size, device| triplets(size, device, TripletMining::All)),
    ("batch-hard", |size, device| triplets(size, device, TripletMining::Hard)),
    ("semi-hard", |size, device| triplets(size, device, TripletMining::SemiHard)),
    ("info-nce-references", |size, device| with_references(size, device, InfoNceLossConfig::new().init(device))),
    ("sup-con-references", |size, device| with_references(size, device, SupConLossConfig::new().init(device))),
    ("n-pairs-references", |size, device| with_references(size, device, NPairsLossConfig::new().init(device))),
    ("siglip", |size, device| {
        let loss = SigLipLossConfig::new().with_temperature_mode(TemperatureMode::Learned).init(device);
        two_towers(size, device, Pairs::symmetric, move |pairs| loss.forward_pairs(pairs))
    }),
    ("info-nce", |size, device| {
        let loss = InfoNceLossConfig::new().with_temperature_mode(TemperatureMode::Learned).init(device);
        two_towers(size, device, Pairs::aligned, move |pairs| loss.forward_pairs(pairs))
    }),
    ("clip", |size, device| {
        let loss = InfoNceLossConfig::new().with_temperature_mode(TemperatureMode::Learned).init(device);
        two_towers(size, device, Pairs::symmetric, move |pairs| loss.forward_pairs(pairs))
    }),
    // Six lengths, each half of the one before.
    ("matryoshka-clip", |size, device| {
        let loss = InfoNceLossConfig::new().with_temperature_mode(TemperatureMode::Learned).init(device);
        let lengths = (0..6).map(|halved| size.columns >> halved).collect();
        let loss = MatryoshkaLossConfig::new(lengths).init(loss);
        two_towers(size, device, Pairs::symmetric, move |pairs| loss.forward_pairs(pairs))
    }),
    ("center", |size, device| {
        let loss = CenterLossConfig::new(size.others, size.columns).init(device);
        of_embeddings(size, device, size.others, move |rows, labels| loss.forward(rows, labels))
    }),
    ("center-trained", |size, device| {
        let loss = trained_centers(size, device);
        of_embeddings(size, device, size.others, move |rows, labels| loss.forward(rows, labels))
    }),
    ("center-trained-step", |size, device| {
        let embeddings = (normal([size.rows, size.columns], device), of_batch(size, device));
        training_step(trained_centers(size, device), RowSgdConfig::new().init(), move |loss| {
            loss.forward(embeddings.0.clone(), embeddings.1.clone())
        })
    }),
    ("arcface-step", |size, device| arcface_step(size, device, CentersConfig::new(), with_momentum())),
    ("arcface-step-sampled", |size, device| {
        arcface_step(size, device, CentersConfig::new().with_sample_rate(0.1), with_momentum())
    }),
    ("arcface-step-rows", |size, device| {
        let centers = CentersConfig::new().with_sample_rate(0.1).with_gradient(RowGradient::Drawn);
        arcface_step(size, device, centers, RowSgdConfig::new().init())
    }),
    ("uniface", |size, device| {
        let head = UniFaceConfig::new(size.others, size.columns).init(device);
        head.centers.weight.val();
        of_embeddings(size, device, size.others, move |rows, labels| head.forward(rows, labels))
    }),
    ("sphereface2", |size, device| {
        let head = SphereFace2Config::new(size.others, size.columns).init(device);
        head.centers.weight.val();
        of_embeddings(size, device, size.others, move |rows, labels| head.forward(rows, labels))
    }),
    // Burn's own, which this pack goes around or tells of.
    ("burn-mask-fill", |size, device| {
        let device = &device.clone().inner();
        let numbers = normal([size.rows, size.columns], device);
        let mask = numbers.clone().lower_scalar(0.0);
        Box::new(move || drop(numbers.clone().mask_fill(mask.clone(), 0.0)))
    }),
    ("burn-mask-fill-of-column", |size, device| {
        let device = &device.clone().inner();
        let numbers = normal([size.rows, size.columns], device);
        let column = numbers.clone().narrow(1, 0, 1).lower_scalar(0.0);
        Box::new(move || drop(numbers.clone().mask_fill(column.clone().expand(numbers.dims()), 0.0)))
    }),
    ("burn-mask-where", |size, device| {
        let device = &device.clone().inner();
        let [numbers, others] = [0, 1].map(|_| normal([size.rows, size.columns], device));
        let mask = numbers.clone().lower_scalar(0.0);
        Box::new(move || drop(numbers.clone().mask_where(mask.clone(), others.clone())))
    }),
    ("burn-momentum", |size, device| momentum_step(size, device, with_momentum())),
    ("momentum", |size, device| momentum_step(size, device, RowSgdConfig::new().init())),
    ("adamw", |size, device| momentum_step(size, device, RowAdamWConfig::new().init())),
];

/// Rows of a class in a batch for a loss of pairs.
const ROWS_PER_CLASS: usize = 4;

#[derive(Module, Debug)]
struct Weights {
    weight: Param<Tensor<2>>,
}

fn normal(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn labels(count: usize, label: impl Fn(usize) -> usize, device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i32> = (0..count).map(|row| label(row) as i32).collect();
    Tensor::from_ints(labels.as_slice(), device)
}

/// The loss and the gradient of the leaf.
fn gradient_step(leaf: Tensor<2>, loss: impl Fn(Tensor<2>) -> Tensor<1> + 'static) -> Step {
    let leaf = leaf.require_grad();
    Box::new(move || {
        let gradients = loss(leaf.clone()).backward();
        leaf.grad(&gradients).expect("the loss depends on its input");
    })
}

fn of_classes(size: &Size, device: &Device, loss: impl Fn(Tensor<2>, Tensor<1, Int>) -> Tensor<1> + 'static) -> Step {
    let classes = size.columns;
    let labels = labels(size.rows, |row| row * 7919 % classes, device);
    gradient_step(normal([size.rows, classes], device), move |logits| loss(logits, labels.clone()))
}

/// Hidden states through a linear layer, whose rows are the classes: by the loss itself, or with all logits in memory.
fn linear_cross_entropy(size: &Size, device: &Device, whole: bool) -> Step {
    let classes = size.others;
    let labels = labels(size.rows, |row| row * 7919 % classes, device);
    let hidden = normal([size.rows, size.columns], device).require_grad();
    let weight = normal([classes, size.columns], device).mul_scalar(0.02).detach().require_grad();
    let linear = LinearCrossEntropyLossConfig::new().init(device);
    let of_logits = CrossEntropyLossConfig::new().init(device);
    Box::new(move || {
        let (hidden, weight, labels) = (hidden.clone(), weight.clone(), labels.clone());
        let loss = if whole {
            of_logits.forward(hidden.clone().matmul(weight.clone().transpose()), labels, Reduction::Mean)
        } else {
            linear.forward(hidden.clone(), OutputLayer::new(weight.clone(), None), labels, Reduction::Mean)
        };
        let gradients = loss.backward();
        hidden.grad(&gradients).expect("a gradient");
        weight.grad(&gradients).expect("a gradient");
    })
}

fn of_soft_targets(size: &Size, device: &Device, loss: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<1> + 'static) -> Step {
    let shape = [size.rows, size.columns];
    let targets = Tensor::<2>::random(shape, Distribution::Uniform(0.0, 1.0), device);
    let targets = targets.clone() / targets.sum_dim(1).expand(shape);
    gradient_step(normal(shape, device), move |logits| loss(logits, targets.clone()))
}

/// A tenth of the answers is yes.
fn of_answers(size: &Size, device: &Device, loss: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<1> + 'static) -> Step {
    let shape = [size.rows, size.columns];
    let targets = Tensor::<2>::random(shape, Distribution::Bernoulli(0.1), device);
    gradient_step(normal(shape, device), move |logits| loss(logits, targets.clone()))
}

fn of_numbers(size: &Size, device: &Device, loss: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<1> + 'static) -> Step {
    let shape = [size.rows, size.columns];
    let targets = normal(shape, device);
    gradient_step(normal(shape, device), move |predictions| loss(predictions, targets.clone()))
}

fn of_parameters(size: &Size, device: &Device, penalty: impl Fn(&Weights) -> Tensor<1> + 'static) -> Step {
    let weights = Weights { weight: Param::from_tensor(normal([size.rows, size.columns], device)) };
    Box::new(move || {
        let gradients = penalty(&weights).backward();
        weights.weight.val().grad(&gradients).expect("a penalty has a gradient");
    })
}

/// The sum of the distances of all rows to other rows, with both gradients.
fn all_pairs(size: &Size, device: &Device, distance: Distance) -> Step {
    let others = normal([size.rows, size.columns], device).require_grad();
    let leaf = normal([size.rows, size.columns], device).require_grad();
    Box::new(move || {
        let gradients = distance.matrix(leaf.clone(), others.clone()).sum().backward();
        leaf.grad(&gradients).expect("a gradient");
        others.grad(&gradients).expect("a gradient");
    })
}

fn of_embeddings(
    size: &Size,
    device: &Device,
    classes: usize,
    loss: impl Fn(Tensor<2>, Tensor<1, Int>) -> Tensor<1> + 'static,
) -> Step {
    let labels = labels(size.rows, |row| row * 7919 % classes, device);
    gradient_step(normal([size.rows, size.columns], device), move |rows| loss(rows, labels.clone()))
}

fn of_pairs(size: &Size, device: &Device, loss: impl EmbeddingLoss + 'static) -> Step {
    let labels = labels(size.rows, |row| row / ROWS_PER_CLASS, device);
    gradient_step(normal([size.rows, size.columns], device), move |rows| loss.forward(rows, labels.clone()))
}

/// Rows of one tower and those of the other that belong to them, with the gradients of both.
fn two_towers(
    size: &Size,
    device: &Device,
    pairs: fn(Tensor<2>, Tensor<2>) -> Pairs,
    loss: impl Fn(&Pairs) -> Tensor<1> + 'static,
) -> Step {
    let [images, texts] = [0, 1].map(|_| normal([size.rows, size.columns], device).require_grad());
    Box::new(move || {
        let gradients = loss(&pairs(images.clone(), texts.clone())).backward();
        images.grad(&gradients).expect("a gradient");
        texts.grad(&gradients).expect("a gradient");
    })
}

fn triplets(size: &Size, device: &Device, mining: TripletMining) -> Step {
    of_pairs(size, device, TripletLossConfig::new().with_mining(mining).init(device))
}

fn of_batch(size: &Size, device: &Device) -> Tensor<1, Int> {
    let classes = size.others;
    labels(size.rows, |row| row * 7919 % classes, device)
}

/// Centers that an optimizer moves, with the gradients of those in the batch.
fn trained_centers(size: &Size, device: &Device) -> CenterLoss {
    let config = CenterLossConfig::new(size.others, size.columns).with_mode(CenterMode::Trained);
    let loss = config.with_gradient(RowGradient::Drawn).init(device);
    loss.centers();
    loss
}

/// Burn's gradient descent as PyTorch's.
fn with_momentum() -> ModuleOptimizer {
    SgdConfig::new().with_momentum(Some(MomentumConfig::new().with_momentum(0.9).with_dampening(0.0))).init()
}

/// The step of an optimizer, given a gradient of all numbers.
fn momentum_step(size: &Size, device: &Device, mut optimizer: ModuleOptimizer) -> Step {
    let weights = Weights { weight: Param::from_tensor(normal([size.rows, size.columns], device)) };
    let id = weights.weight.id;
    let gradient = normal([size.rows, size.columns], &device.clone().inner());
    let mut weights = Some(weights);
    Box::new(move || {
        let mut gradients = GradientsParams::new();
        gradients.register(id, gradient.clone());
        weights = weights.take().map(|weights| optimizer.step(0.1, weights, gradients));
    })
}

/// A whole step of a head: loss, gradients of embeddings and centers, and the step of an optimizer.
fn arcface_step(size: &Size, device: &Device, centers: CentersConfig, optimizer: ModuleOptimizer) -> Step {
    let head = ArcFaceConfig::new(size.others, size.columns).with_centers(centers).init(device);
    let (embeddings, labels) = (normal([size.rows, size.columns], device).require_grad(), of_batch(size, device));
    head.centers.weight.val();
    training_step(head, optimizer, move |head| head.forward(embeddings.clone(), labels.clone()))
}

fn training_step<M: Module + 'static>(
    module: M,
    mut optimizer: ModuleOptimizer,
    loss: impl Fn(&M) -> Tensor<1> + 'static,
) -> Step {
    let mut module = Some(module);
    Box::new(move || {
        module = module.take().map(|module| {
            let gradients = GradientsParams::from_grads(loss(&module).backward(), &module);
            optimizer.step(0.1, module, gradients)
        });
    })
}

/// A batch against a memory that holds the same classes.
fn with_references(size: &Size, device: &Device, loss: impl PairLoss + 'static) -> Step {
    let classes = size.others / ROWS_PER_CLASS;
    let references = (normal([size.others, size.columns], device), labels(size.others, |row| row % classes, device));
    let labels = labels(size.rows, |row| row * 7919 % classes, device);
    gradient_step(normal([size.rows, size.columns], device), move |rows| {
        loss.forward_pairs(&Pairs::with_references(rows, labels.clone(), references.clone()))
    })
}
