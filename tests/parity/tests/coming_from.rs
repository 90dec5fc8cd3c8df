//! The tables of docs/coming-from.md: every name of ours in them is one that there is.

use std::collections::BTreeSet;

/// The names, as they stand in the tables. What is none does not compile.
macro_rules! names {
    ($($name:ident),* ; burn: $($burn:path),* ; paths: $($path:path),* $(,)?) => {{
        $(#[allow(unused_imports)] use burn_losses::$name as _;)*
        $(#[allow(unused_imports)] use $burn as _;)*
        $(let _ = $path;)*
        [$(stringify!($name),)* $(stringify!($burn),)* $(stringify!($path),)*].map(|name| name.replace(' ', ""))
    }};
}

fn known() -> BTreeSet<String> {
    use burn_losses::classification::{Divergence, KLDivLoss};
    use burn_losses::heads::GradientMode;
    use burn_losses::optim::{self, RowGradient};
    use burn_losses::pairs::{ContrastiveForm, PairScore, Pairs, RowSimilarity, TripletMining, TripletShape};
    use burn_losses::proxy::Denominator;
    use burn_losses::regression::{LpLossConfig, PoissonInput};
    use burn_losses::{Distance, EmbeddingReduction};

    let _ = core::mem::size_of::<KLDivLoss>();
    let mut known = BTreeSet::from(names![
        AdaptiveLayerLoss, AngularMiner, ArcFace, BatchEasyHardMiner, BatchHardMiner, BinaryCrossEntropyLoss, BinaryFocalLoss,
        CenterInvariantRegularizer, CentersConfig, CircleLoss, CoSentLoss, CombinedMargin, ContrastiveLoss, CosFace, CrossBatchMemory,
        CrossEntropyLoss, Distance, DistanceWeightedMiner, EmbeddingLoss, EmbeddingReduction, FocalLoss, GaussianNLLLoss,
        GeneralizedCrossEntropyLoss, HuberLoss, InfoNceLoss, KLDivLoss, LiftedStructureLoss, LinearCrossEntropyLoss, LinearDistillationLoss, LogCoshLoss,
        LpLoss, LpRegularizer, MarginLoss, MatryoshkaLoss, MeanAbsolutePercentageErrorLoss, MeanSquaredLogarithmicErrorLoss, MseLoss,
        MulticlassHingeLoss, MultiSimilarityLoss, MultiSimilarityMiner, MultipleNegativesRankingLoss, NPairsLoss,
        NormalizedSoftmaxLoss, PairMarginMiner,
        PairScore, Pairs, PoissonNllLoss, ProxyAnchorLoss, ProxyNcaLoss, RegularFaceRegularizer, ShardedHead, SigLipLoss, SmoothL1Loss,
        SoftTripleLoss, SparseCentersRegularizer, SphereFace, SubCenterArcFace, SupConLoss, TripletLoss, TripletMarginMiner,
        ZeroMeanRegularizer ;
        burn: burn::lr_scheduler, burn::nn::loss::CTCLoss, burn::nn::loss::CosineEmbeddingLoss,
        burn::nn::loss::HingeEmbeddingLoss, burn::nn::loss::MarginRankingLoss, burn::nn::loss::SoftMarginLoss ;
        paths: ContrastiveForm::Hinge, Denominator::AllProxies, Distance::Cosine, Distance::Euclidean, Distance::matrix,
        Distance::rowwise, Divergence::ForwardKl, Divergence::JensenShannon, EmbeddingReduction::MeanNonZero, GradientMode::Detached, LpLossConfig::l1, PairScore::Product, Pairs::aligned,
        Pairs::given, Pairs::given_triplets, Pairs::guided_by, Pairs::symmetric, Pairs::views, Pairs::with_identities,
        Pairs::with_negatives_elsewhere, Pairs::with_references, PoissonInput::Rate, RowGradient::Drawn, RowSimilarity::ComplexAngle,
        TripletMining::All, TripletMining::Hard, TripletMining::SemiHard, TripletShape::Softplus,
        optim::mean_of_drawn_rows,
    ]);
    use burn_losses::gradient_cache::GradientCache;
    use burn_losses::sampling::{ClassBalanced, Hierarchical};
    // In modules of their own, and not at the root of the crate.
    let others = [
        core::any::type_name::<ClassBalanced>(),
        core::any::type_name::<Hierarchical>(),
        core::any::type_name::<GradientCache>(),
    ];
    known.extend(others.map(|name| name.rsplit("::").next().expect("a path has an end").to_owned()));
    known
}

/// What stands between backticks.
fn code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_name_of_ours_exists() {
    let (known, mut used, mut rows) = (known(), BTreeSet::new(), 0);
    for line in include_str!("../../../docs/coming-from.md").lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, here, note] = cells[..] else { panic!("three cells: {line}") };
        assert!(here == "no" || code(here).next().is_some(), "a name or `no`: {line}");
        // In a note other libraries have names, too; ours are told by their path.
        let noted = code(note).filter(|name| name.contains("::") && !name.starts_with("burn::"));
        let noted = noted.map(|name| name.split('(').next().expect("a split has a part"));
        for name in code(here).chain(noted) {
            assert!(known.contains(name), "{name} is not in the list of this test: {line}");
            used.insert(name.to_owned());
        }
        rows += 1;
    }
    assert!(rows > 120, "the tables are read: {rows} rows");
    let unused: Vec<_> = known.iter().filter(|name| !name.contains("::") && !used.contains(*name)).collect();
    assert!(unused.is_empty(), "in no table: {unused:?}");
}
